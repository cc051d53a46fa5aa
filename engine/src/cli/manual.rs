//! Shell completions and the manual page, made from the same definitions as the arguments.

use super::args::CommandLine;
use super::failure::Failure;
use clap::CommandFactory;
use std::io::{ErrorKind, Write};

/// Writes to standard output; a reader that has seen enough is not an error.
pub fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints the completion script for a shell.
pub fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "ringseed", &mut script);
    print(&script)
}

/// Prints the manual page, all commands in one, as roff.
pub fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    let mut command = CommandLine::command();
    command.build();
    render(&command, &mut page)
        .map_err(|error| Failure::failed(format!("cannot render the manual: {error}")))?;
    print(&page)
}

fn render(command: &clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let manual = clap_mangen::Man::new(command.clone());
    manual.render_title(page)?;
    manual.render_name_section(page)?;
    manual.render_synopsis_section(page)?;
    manual.render_description_section(page)?;
    manual.render_options_section(page)?;
    for subcommand in command.get_subcommands() {
        writeln!(page, ".SH \"RINGSEED {}\"", subcommand.get_name().to_uppercase())?;
        let text = subcommand.clone().render_long_help().to_string();
        writeln!(page, ".nf")?;
        for line in text.lines() {
            // Roff takes a leading dot or quote as a request, and a backslash as an escape.
            let line = line.replace('\\', "\\\\").replace('-', "\\-");
            let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
            writeln!(page, "{guard}{line}")?;
        }
        writeln!(page, ".fi")?;
    }
    manual.render_extra_section(page)?;
    manual.render_version_section(page)
}
