//! How a command ends when it does not end well: the line for the user and the exit code.

use std::process::ExitCode;

/// Why a command failed. Its text is the one line that `main` prints behind `error: `.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The command line asks for something impossible: exit code 2.
    Usage(String),
    /// The work failed: exit code 1.
    Failed(String),
    /// The work failed and every reason has been printed: exit code 1.
    Reported,
}

impl Failure {
    /// A failure of the work.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// A mistake on the command line.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// Prints the line and gives the exit code.
    pub fn report(self) -> ExitCode {
        match self {
            Self::Usage(text) => {
                super::screen::complain(&text);
                ExitCode::from(2)
            }
            Self::Failed(text) => {
                super::screen::complain(&text);
                ExitCode::from(1)
            }
            Self::Reported => ExitCode::from(1),
        }
    }
}

/// What went wrong with a file or directory, as people say it.
pub fn io_reason(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "it does not exist".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        ErrorKind::IsADirectory => "it is a directory".into(),
        ErrorKind::NotADirectory => "a part of the path is not a directory".into(),
        ErrorKind::StorageFull => "no space left on the disk".into(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        _ => error.to_string(),
    }
}
