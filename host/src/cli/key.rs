//! `tollgate key`: API keys.

use std::process::ExitCode;

use super::failed;
use crate::key;

pub(super) fn new(consumer: &str) -> ExitCode {
    match key::new_key(consumer) {
        Ok(new) => {
            eprintln!("The key, which is shown only now:");
            println!("{}", new.key);
            eprintln!("\nFor `config.keys` of an api-key plugin:");
            println!("{}", new.toml_line);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&format!("{error}")),
    }
}
