//! The command line, as `--help` shows it.

use clap::Command;

/// Of lines, as on a terminal that is wide enough.
const WIDTH: usize = 100;

/// The page of a command and of all below it.
pub(super) fn page(title: &str, command: Command) -> String {
    let mut command = command.term_width(WIDTH);
    command.build();
    let mut page = format!("# {title}\n");
    section(&mut page, &mut command);
    page
}

fn section(page: &mut String, command: &mut Command) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    // What a variable holds here and now is no part of the page.
    *command = std::mem::take(command).mut_args(|argument| argument.hide_env_values(true));
    let help = command.render_long_help().to_string();
    let help: Vec<String> = help.lines().map(|line| wrapped(line.trim_end())).collect();
    page.extend(["\n## ", &name, "\n\n```text\n", help.join("\n").trim(), "\n```\n"]);
    for below in command.get_subcommands_mut() {
        if below.get_name() != "help" {
            section(page, below);
        }
    }
}

/// The line, or as many as it takes, each as far in as the first. A terminal does the same.
fn wrapped(line: &str) -> String {
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    if line.len() <= WIDTH {
        return line.to_owned();
    }
    let mut lines = Vec::new();
    let mut present = String::new();
    for word in text.split(' ') {
        if !present.is_empty() && indent.len() + present.len() + 1 + word.len() > WIDTH {
            lines.push(format!("{indent}{present}"));
            present.clear();
        }
        if !present.is_empty() {
            present.push(' ');
        }
        present.push_str(word);
    }
    lines.push(format!("{indent}{present}"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped() {
        let line = format!("  {}", ["word"; 30].join(" "));
        let wrapped = wrapped(&line);
        assert_eq!(wrapped.lines().count(), 2);
        assert!(
            wrapped
                .lines()
                .all(|line| line.starts_with("  word") && line.len() <= WIDTH)
        );
        assert_eq!(wrapped.split_whitespace().count(), 30);
    }

    #[test]
    fn every_command_has_its_section() {
        let command = Command::new("a").subcommand(Command::new("b").subcommand(Command::new("c")));
        let page = page("Command line", command);
        let sections: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(sections, ["## a", "## a b", "## a b c"]);
    }
}
