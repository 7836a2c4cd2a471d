//! From the command line to what it asks for.

use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::Path;

use clap::Parser;
use serde_json::{Value, json};

use crate::cli::{
    AccountCommand, AliasCommand, CONFIG_FILE, CheckArgs, Cli, Command, ConfigCommand, DomainCommand,
    InitArgs, PasswordArgs, ServeArgs,
};
use crate::dkim::dkim;
use crate::mailqueue::{queue, trace};
use crate::postfix::from_postfix;
use crate::publish::dns;
use crate::reporting::reports;
use crate::rules::rules;
use crate::sendmail::{is_called, sendmail};
use crate::slow::slow;
use crate::top::top;
use crate::tune::tune;
use crate::{
    Config, Control, Demo, Exit, Failure, Host, Overrides, Password, Request, export, import, print,
};

/// Does what the command line says, the program's name first; the exit code is for the shell.
pub fn run(arguments: impl IntoIterator<Item = OsString>, host: &dyn Host) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some((program, rest)) = arguments.split_first()
        && is_called(program)
    {
        return ended(sendmail(rest, Path::new(CONFIG_FILE), host), false);
    }
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return unread(&error, arguments.iter().any(|argument| argument == "--json")),
    };
    let is_json = cli.json;
    ended(execute(cli, host), is_json)
}

/// Says what was wrong, if anything was.
fn ended(done: Result<Exit, Failure>, is_json: bool) -> Exit {
    match done {
        Ok(exit) => exit,
        Err(failure) => {
            if is_json {
                print::text(&json!({ "error": failure.message }).to_string());
            }
            let _closed = writeln!(std::io::stderr(), "angarium: {failure}");
            failure.exit
        }
    }
}

/// A command line that cannot be read, or that asks for help.
fn unread(error: &clap::Error, is_json: bool) -> Exit {
    if error.use_stderr() && is_json {
        let words = error.render().to_string();
        print::text(&json!({ "error": words.trim_end() }).to_string());
    }
    // Help goes to standard output, a fault to standard error.
    let _closed = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

fn execute(cli: Cli, host: &dyn Host) -> Result<Exit, Failure> {
    match cli.command {
        Command::Demo(args) => Demo::new(args, cli.json).run(host),
        Command::Init(args) => init(&args, &cli.config, host, cli.json),
        Command::Serve(args) => serve(args, Config::read(&cli.config)?, host),
        Command::Top(args) => top(&args, &cli.config, host, cli.json),
        Command::Slow(args) => slow(&args, &cli.config, host, cli.json),
        Command::Queue(args) => queue(args, &cli.config, host, cli.json),
        Command::Trace(args) => trace(args, &cli.config, host, cli.json),
        Command::Reports(args) => reports(args, &cli.config, host, cli.json),
        Command::Sendmail(args) => sendmail(&args.arguments, &cli.config, host),
        Command::Rules(command) => rules(&command, &cli.config, host, cli.json),
        Command::Check(args) => check(&args, &cli.config, host, cli.json),
        Command::Config(ConfigCommand::Check) => {
            host.check_certificates(&Config::read(&cli.config)?)?;
            print::answer(&json!({ "file": cli.config, "is": "valid" }), cli.json);
            Ok(Exit::Done)
        }
        Command::Config(ConfigCommand::FromPostfix(args)) => from_postfix(&args, &cli.config, cli.json),
        Command::Import(args) => {
            let mut control = host.control(&Config::read(&cli.config)?)?;
            let (done, exit) = import::import(&args, &mut *control, host.now().as_s())?;
            print::answer(&done, cli.json);
            Ok(exit)
        }
        Command::Export(args) => {
            let mut control = host.control(&Config::read(&cli.config)?)?;
            print::answer(&export::export(&args, &mut *control)?, cli.json);
            Ok(Exit::Done)
        }
        Command::Account(command) => ask(account(command)?, &cli.config, host, cli.json),
        Command::Domain(command) => domain(command, &cli.config, host, cli.json),
        Command::Tune(args) => tune(&args, &cli.config, cli.json),
        Command::Alias(command) => ask(alias(command), &cli.config, host, cli.json),
    }
}

fn ask(request: Request, config: &Path, host: &dyn Host, is_json: bool) -> Result<Exit, Failure> {
    let mut control = host.control(&Config::read(config)?)?;
    let answer = match request {
        Request::AccountList { .. } | Request::AliasList { .. } => whole_list(request, &mut *control)?,
        _ => control.call(&request, &[])?.json,
    };
    print::answer(&answer, is_json);
    Ok(Exit::Done)
}

/// Lists come in pieces.
fn whole_list(mut request: Request, control: &mut dyn Control) -> Result<Value, Failure> {
    let mut all = Vec::new();
    loop {
        let piece = control.call(&request, &[])?.json;
        let rows = piece.as_array().cloned().unwrap_or_default();
        let Some(last) = rows.last().and_then(|row| row["address"].as_str()).map(str::to_owned) else {
            return Ok(Value::Array(all));
        };
        all.extend(rows);
        if let Request::AccountList { after } | Request::AliasList { after } = &mut request {
            *after = Some(last);
        }
    }
}

fn account(command: AccountCommand) -> Result<Request, Failure> {
    Ok(match command {
        AccountCommand::Add { address, name, password, quota } => Request::AccountAdd {
            address,
            password: read_password(&password)?,
            display_name: name,
            quota_bytes: quota,
        },
        AccountCommand::Remove { address } => Request::AccountRemove { address },
        AccountCommand::Set { address, password, name, quota, enabled, sent_copy } => Request::AccountSet {
            address,
            password: read_password(&password)?,
            display_name: name,
            quota_bytes: quota,
            enabled,
            sent_copy,
        },
        AccountCommand::Delegate(args) => args.request(),
        AccountCommand::Forward(args) => args.request(),
        AccountCommand::Show { address } => Request::AccountShow { address },
        AccountCommand::List => Request::AccountList { after: None },
    })
}

fn domain(command: DomainCommand, file: &Path, host: &dyn Host, is_json: bool) -> Result<Exit, Failure> {
    let request = match command {
        DomainCommand::Dkim(command) => return dkim(command, file, host, is_json),
        DomainCommand::Dns(args) => return dns(args, file, host, is_json),
        DomainCommand::Add { name } => Request::DomainAdd { name },
        DomainCommand::Remove { name } => Request::DomainRemove { name },
        // Without a catch-all there is the word that there shall be none.
        DomainCommand::Set { name, catch_all, no_catch_all: _ } => Request::DomainSet { name, catch_all },
        DomainCommand::Show { name } => Request::DomainShow { name },
        DomainCommand::List => Request::DomainList,
    };
    ask(request, file, host, is_json)
}

fn alias(command: AliasCommand) -> Request {
    match command {
        AliasCommand::Set { address, targets } => Request::AliasSet { address, targets },
        AliasCommand::Remove { address } => Request::AliasRemove { address },
        AliasCommand::List => Request::AliasList { after: None },
    }
}

fn read_password(args: &PasswordArgs) -> Result<Option<Password>, Failure> {
    let Some(file) = &args.password_file else { return Ok(args.password.clone()) };
    let broken = |error: std::io::Error| Failure::new(Exit::Io, format!("{}: {error}", file.display()));
    let mut line = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().read_line(&mut line).map_err(broken)?;
    } else {
        line = std::fs::read_to_string(file).map_err(broken)?;
    }
    Ok(Some(line.lines().next().unwrap_or_default().to_owned().into()))
}

fn serve(args: ServeArgs, config: Config, host: &dyn Host) -> Result<Exit, Failure> {
    let config = config.overridden(Overrides { shards: args.shards, cpus: args.cpus });
    host.serve(&config, Box::new(|_, _| Ok(())))
}

fn init(args: &InitArgs, file: &Path, host: &dyn Host, is_json: bool) -> Result<Exit, Failure> {
    if file.exists() {
        let words = format!("{} is there already; `angarium config check` checks it", file.display());
        return Err(Failure::new(Exit::Exists, words));
    }
    // Quoted as JSON strings, which are TOML strings too.
    let quoted = |text: &str| Value::String(text.to_owned()).to_string();
    let text = format!(
        "# Angarium's configuration; docs/operate/configure.md has every setting.\n\n[server]\nhostname = {}\ndata = {}\ndefault_domain = {}\npostmaster = {}\n\n[store]\npartitions = {}\n",
        quoted(&args.hostname),
        quoted(&args.data.to_string_lossy()),
        quoted(&args.domain),
        quoted(&format!("postmaster@{}", args.domain)),
        args.partitions
    );
    let config = Config::parse(file, &text)?;
    let broken = |error: std::io::Error| Failure::new(Exit::Io, format!("{}: {error}", file.display()));
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(broken)?;
    }
    let mut control = host.control(&config)?;
    match control.call(&Request::DomainAdd { name: args.domain.clone() }, &[]) {
        Err(failure) if failure.exit != Exit::Exists => return Err(failure),
        _ => {}
    }
    std::fs::write(file, text).map_err(broken)?;
    print::answer(
        &json!({
            "config": file,
            "data": args.data,
            "domain": args.domain,
            "next": format!("angarium --config {} account add NAME@{} --password-file FILE", file.display(), args.domain),
            "then": format!("angarium --config {} alias set postmaster@{1} NAME@{1}", file.display(), args.domain),
        }),
        is_json,
    );
    Ok(Exit::Done)
}

fn check(args: &CheckArgs, file: &Path, host: &dyn Host, is_json: bool) -> Result<Exit, Failure> {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => Config::read(file)?.server.data,
    };
    let bar = print::progress_bar();
    let report = host.check(&data, &mut |step| {
        bar.set_length(step.total);
        bar.set_position(step.done);
        bar.set_message(step.stage);
    })?;
    bar.finish_and_clear();
    // What could not be read says nothing about the store.
    let unread =
        report.problems.iter().find(|problem| matches!(problem.error, storage_engine::Error::Io { .. }));
    if let Some(problem) = unread {
        let words = format!("{}; check needs to read everything: run it as the store's owner", problem.error);
        return Err(Failure::new(Exit::Io, words));
    }
    let is_clean = report.problems.is_empty();
    let problems: Vec<Value> = report
        .problems
        .iter()
        .map(|problem| {
            json!({ "partition": problem.partition, "account": problem.account, "error": problem.error.to_string() })
        })
        .collect();
    print::answer(
        &json!({
            "is": if is_clean { "clean" } else { "damaged" },
            "store": data,
            "frames": report.frames,
            "runs": report.runs,
            "accounts": report.accounts,
            "messages": report.rows,
            "bodies": report.bodies,
            "body_bytes": report.body_bytes,
            "problems": problems,
        }),
        is_json,
    );
    Ok(if is_clean { Exit::Done } else { Exit::Failed })
}
