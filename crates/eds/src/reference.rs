//! The reference of the command line as Markdown: `docs/cli.md`.

use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command};

/// The reference of a command and of all below it.
pub(crate) fn markdown(mut root: Command) -> String {
    root.build();
    let mut text = String::from(
        "# eds: command line reference\n\n\
         Generated from the program (`eds docs`); a test compares the two.\n\n",
    );
    let mut commands = Vec::new();
    collect(&root, "", &mut commands);
    for (path, command) in &commands {
        if command.has_subcommands() && !path.contains(' ') {
            continue;
        }
        let _ = writeln!(text, "- [`{path}`](#{})", anchor(path));
    }
    text.push('\n');
    for (path, command) in commands {
        describe(&path, command, &mut text);
    }
    // One newline at the end of the file.
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn collect<'c>(command: &'c Command, path: &str, commands: &mut Vec<(String, &'c Command)>) {
    let path = if path.is_empty() {
        command.get_name().to_owned()
    } else {
        format!("{path} {}", command.get_name())
    };
    commands.push((path.clone(), command));
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        collect(sub, &path, commands);
    }
}

fn anchor(heading: &str) -> String {
    heading.replace(' ', "-")
}

fn describe(path: &str, command: &Command, text: &mut String) {
    let _ = writeln!(text, "## {path}\n");
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        let _ = writeln!(text, "{}\n", prose(about));
    }
    let mut usage = command.clone().render_usage().to_string();
    usage = usage.trim_start_matches("Usage: ").to_owned();
    let _ = writeln!(text, "```text\n{usage}\n```\n");
    let subs: Vec<_> =
        command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help").collect();
    if !subs.is_empty() {
        text.push_str("| command | what it does |\n|---|---|\n");
        for sub in subs {
            let name = sub.get_name();
            let about = sub.get_about().map(prose).unwrap_or_default();
            let _ =
                writeln!(text, "| [`{name}`](#{}) | {} |", anchor(&format!("{path} {name}")), cell(&about));
        }
        text.push('\n');
    }
    let arguments: Vec<_> = command
        .get_arguments()
        .filter(|a| !(a.is_hide_set() || a.is_global_set() && path != "eds"))
        .filter(|a| !matches!(a.get_id().as_str(), "help" | "version"))
        .collect();
    if !arguments.is_empty() {
        text.push_str("| argument | default | meaning |\n|---|---|---|\n");
        for argument in arguments {
            let help = argument.get_long_help().or(argument.get_help()).map(prose).unwrap_or_default();
            let _ =
                writeln!(text, "| `{}` | {} | {} |", cell(&shown(argument)), default(argument), cell(&help));
        }
        text.push('\n');
    }
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        let _ = writeln!(text, "```text\n{}\n```\n", after.to_string().trim());
    }
}

fn prose(styled: &StyledStr) -> String {
    styled.to_string().trim().to_owned()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn shown(argument: &Arg) -> String {
    let values: Vec<_> =
        argument.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
    let value = values.join(" ");
    let name = match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, Some(long)) => format!("--{long}"),
        (None, None) => {
            return if argument.is_required_set() { value } else { format!("[{}]", values.join(" ")) };
        }
    };
    let takes = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let several = if matches!(argument.get_action(), ArgAction::Append) { " …" } else { "" };
    if takes { format!("{name} {value}{several}") } else { name }
}

fn default(argument: &Arg) -> String {
    let takes = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|v| format!("`{}`", v.to_string_lossy())).collect();
    match (takes, argument.is_required_set()) {
        (_, true) => "(required)".to_owned(),
        (true, false) => defaults.join(" "),
        (false, false) => String::new(),
    }
}
