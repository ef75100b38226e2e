//! `schema`, `completions` and `man`: texts made from the declarations of the configuration and the command line.

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use tidegate_ctrl::config;

use super::{fail, print};
use crate::cli::{Cli, Completions, Man};

pub(crate) fn schema() -> ExitCode {
    match serde_json::to_string_pretty(&config::json_schema()) {
        Ok(text) => print(&(text + "\n")),
        Err(error) => fail(&error),
    }
}

pub(crate) fn completions(args: &Completions) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidegate", &mut script);
    print(&String::from_utf8_lossy(&script))
}

pub(crate) fn man(args: &Man) -> ExitCode {
    match &args.directory {
        Some(directory) => pages(directory),
        None => {
            let mut page = Vec::new();
            match clap_mangen::Man::new(Cli::command()).render(&mut page) {
                Ok(()) => print(&String::from_utf8_lossy(&page)),
                Err(error) => fail(&error),
            }
        }
    }
}

fn pages(directory: &Path) -> ExitCode {
    let written = std::fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format_args!("cannot write to {}: {error}", directory.display())),
    }
}
