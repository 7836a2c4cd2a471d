//! `angarium config from-postfix`: what a Postfix does, said in our words. main.cf and master.cf are read as Postfix reads
//! them; what has a counterpart becomes angarium.toml, what lives in the directory becomes commands, and all else is
//! named. Nothing is guessed, and nothing is changed.

mod access;
mod bounds;
mod commands;
mod content;
mod directory;
mod draft;
mod expand;
mod filters;
mod known;
mod lines;
mod listen;
mod master;
mod notices;
mod numbers;
mod outbound;
mod parameters;
mod policy;
mod pools;
mod postscreen;
mod routes;
mod srs;
mod tables;
mod ways;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use self::draft::{Draft, Origin};
use self::master::Service;
use self::parameters::Parameters;
use self::tables::{Files, read_text};
use crate::{Exit, Failure, print};

#[derive(Debug, Args)]
pub(crate) struct PostfixArgs {
    /// Postfix's folder, with main.cf and master.cf.
    #[arg(value_name = "DIR", default_value = "/etc/postfix")]
    pub(crate) folder: PathBuf,
    /// Where / of that machine lies here, when DIR is a copy: files that main.cf names are looked for below it.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Write the commands for domains, accounts and aliases into this new file, a shell script.
    #[arg(long, value_name = "FILE")]
    pub(crate) commands: Option<PathBuf>,
}

/// Prints the configuration; `config` is the file that the commands name.
pub(crate) fn from_postfix(args: &PostfixArgs, config: &Path, is_json: bool) -> Result<Exit, Failure> {
    let draft = translated(&Postfix::read(&args.folder, &args.root)?);
    let text = draft.config(&args.folder, args.commands.is_some())?;
    if let Some(file) = &args.commands {
        let broken = |error: std::io::Error| {
            let exit =
                if error.kind() == std::io::ErrorKind::AlreadyExists { Exit::Exists } else { Exit::Io };
            Failure::new(exit, format!("{}: {error}", file.display()))
        };
        let mut script = std::fs::File::create_new(file).map_err(broken)?;
        script.write_all(draft.script(&args.folder, config).as_bytes()).map_err(broken)?;
    }
    if is_json {
        let answer = json!({
            "config": text,
            "unmatched": Draft::notes(&draft.unmatched),
            "settled": Draft::notes(&draft.settled),
            "commands": draft.bare_commands(),
        });
        print::answer(&answer, true);
        return Ok(Exit::Done);
    }
    print::text(text.trim_end());
    let mut told = std::io::stderr();
    let mut tell = |line: String| {
        let _closed = writeln!(told, "{line}");
    };
    tell(format!("{} settings of this Postfix have no counterpart in the file:", draft.unmatched.len()));
    for note in &draft.unmatched {
        tell(format!("  {}: {}", note.parameter, note.why));
    }
    let count = draft.bare_commands().len();
    match &args.commands {
        Some(file) => {
            tell(format!("{count} commands are in {}: read it, then run it with sh", file.display()));
        }
        None if count > 0 => {
            tell(format!("{count} commands are at its end, as comments; --commands FILE writes a script"));
        }
        None => {}
    }
    Ok(Exit::Done)
}

/// What its files say.
fn translated(postfix: &Postfix) -> Draft {
    let mut draft = Draft::default();
    for (file, line) in &postfix.odd {
        let origin = Origin { parameter: file, value: line };
        draft.unmatched(origin, "the line is none that Postfix could read; it is left out");
    }
    let domains = directory::domains(postfix, &mut draft);
    listen::translate(postfix, &domains, &mut draft);
    outbound::translate(postfix, &mut draft);
    ways::translate(postfix, &domains, &mut draft);
    notices::translate(postfix, &mut draft);
    srs::translate(postfix, &mut draft);
    numbers::translate(postfix, &mut draft);
    filters::translate(postfix, &mut draft);
    postscreen::translate(postfix, &mut draft);
    policy::translate(postfix, &mut draft);
    content::translate(postfix, &mut draft);
    directory::translate(postfix, &domains, &mut draft);
    known::leftovers(postfix, &mut draft);
    draft
}

/// A Postfix as its files describe it.
struct Postfix {
    files: Files,
    main: Parameters,
    services: Vec<Service>,
    /// Lines that could not be read, with their file.
    odd: Vec<(String, String)>,
    /// Parameters that were asked for; `service|name` for those of a service.
    seen: RefCell<BTreeSet<String>>,
}

impl Postfix {
    /// Reads the two files; without a master.cf it has no services.
    fn read(folder: &Path, root: &Path) -> Result<Self, Failure> {
        let unread = |why: String| {
            Failure::new(Exit::Io, format!("{why}; name the folder with main.cf and master.cf"))
        };
        let text = read_text(&folder.join("main.cf")).map_err(unread)?;
        let (mut main, odd) = Parameters::parse(&text);
        let mut odd: Vec<_> =
            odd.into_iter().map(|line| (format!("main.cf:{}", line.number), line.text)).collect();
        let (services, broken) = master::parse(&read_text(&folder.join("master.cf")).map_err(unread)?);
        odd.extend(broken.into_iter().map(|(number, line)| (format!("master.cf:{number}"), line)));
        let files = Files::new(root, folder);
        let machine = files.read("/etc/hostname").unwrap_or_default();
        let machine = machine.lines().next().map(str::trim).filter(|name| !name.is_empty());
        main.compute(machine.unwrap_or("localhost"), &folder.to_string_lossy());
        Ok(Self { files, main, services, odd, seen: RefCell::default() })
    }

    /// The value in force.
    fn value(&self, name: &str) -> String {
        self.seen.borrow_mut().insert(name.to_owned());
        self.main.value(name)
    }

    /// The value, if it is not the usual one.
    fn changed(&self, name: &str) -> Option<String> {
        self.seen.borrow_mut().insert(name.to_owned());
        self.main.changed(name)
    }

    fn is_yes(&self, name: &str) -> bool {
        self.value(name).eq_ignore_ascii_case("yes")
    }

    /// The value in force for a service.
    fn own(&self, service: &Service, name: &str) -> String {
        self.seen.borrow_mut().insert(name.to_owned());
        self.seen.borrow_mut().insert(format!("{}|{name}", service.title()));
        match service.overrides.get(name) {
            Some(_) => self.main.overlaid(&service.overrides).value(name),
            None => self.main.value(name),
        }
    }

    fn is_seen(&self, name: &str) -> bool {
        self.seen.borrow().contains(name)
    }

    /// What `type` is for maps that name none.
    fn usual_kind(&self) -> String {
        self.value("default_database_type")
    }

    /// Whether a service's column for chroot means yes unless it says something.
    fn usually_chrooted(&self) -> bool {
        self.value("compatibility_level")
            .split('.')
            .next()
            .and_then(|level| level.parse::<u32>().ok())
            .unwrap_or(0)
            < 1
    }

    /// A path as the service sees it: below the queue's folder when it is relative or the service is chrooted there.
    fn path(&self, service: Option<&Service>, path: &str) -> String {
        let is_chrooted = service.is_some_and(|service| service.is_chrooted(self.usually_chrooted()));
        if path.starts_with('/') && !is_chrooted {
            return path.to_owned();
        }
        format!("{}/{}", self.value("queue_directory").trim_end_matches('/'), path.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests;
