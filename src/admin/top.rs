//! `angarium top`: what each shard of a running server does, second by second.

mod details;
mod rates;
mod screen;
mod words;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use self::rates::{Moment, View};
use self::screen::Screen;
use crate::cli::TopArgs;
use crate::slow::config_of;
use crate::{Config, Control, Exit, Failure, Host, Request};

/// Shows until told to end: on the terminal, or with `--json` a line for each interval.
pub(crate) fn top(args: &TopArgs, file: &Path, host: &dyn Host, is_json: bool) -> Result<Exit, Failure> {
    let server = Server::connect(host, config_of(args.data.as_deref(), file)?)?;
    if is_json {
        return print_lines(args, server);
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let words = "there is no terminal here; `angarium top --json` prints a line for each interval";
        return Err(Failure::new(Exit::Usage, words));
    }
    Screen::run(args, server)
}

/// The server that is watched. One that has been started again is found again.
struct Server<'a> {
    host: &'a dyn Host,
    config: Config,
    control: Option<Box<dyn Control>>,
}

impl<'a> Server<'a> {
    fn connect(host: &'a dyn Host, config: Config) -> Result<Self, Failure> {
        let control = host.server(&config)?;
        Ok(Self { host, config, control: Some(control) })
    }

    fn look(&mut self) -> Result<Moment, Failure> {
        let mut control = match self.control.take() {
            Some(control) => control,
            None => self.host.server(&self.config)?,
        };
        let answer = control.call(&Request::Metrics, &[])?;
        self.control = Some(control);
        Ok(Moment::of(&answer.json, self.host.now()))
    }
}

fn print_lines(args: &TopArgs, mut server: Server<'_>) -> Result<Exit, Failure> {
    let mut last = server.look()?;
    let mut left = args.count;
    while left != Some(0) {
        pause(Duration::from_secs_f64(args.interval));
        let now = server.look()?;
        let line: Value = View::between(&last, &now).json();
        // Whoever reads may have enough (`| head`).
        if writeln!(std::io::stdout(), "{line}").is_err() {
            break;
        }
        last = now;
        left = left.map(|left| left - 1);
    }
    Ok(Exit::Done)
}

#[expect(clippy::disallowed_methods, reason = "the command line's own thread, not a shard")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
