//! SIGINT and SIGTERM: the first asks for a graceful stop, the second ends the process at once.

use super::failure::Failure;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The wish to stop, seen by every part of a command. Cheap to clone.
#[derive(Clone)]
pub struct Stop {
    asked: watch::Receiver<bool>,
    #[cfg(feature = "demo")]
    leftovers: Arc<Mutex<Option<PathBuf>>>,
}

impl Stop {
    /// Listens for SIGINT and SIGTERM from now on, on a thread of its own: a second signal is obeyed
    /// whatever the command is busy with.
    pub fn install() -> Result<Self, Failure> {
        let (sender, asked) = watch::channel(false);
        let leftovers = Arc::new(Mutex::new(None::<PathBuf>));
        let stop = Self {
            asked,
            #[cfg(feature = "demo")]
            leftovers: Arc::clone(&leftovers),
        };
        let refused = |error: std::io::Error| Failure::failed(format!("cannot listen for signals: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(refused)?;
        let (mut interrupt, mut terminate) = {
            let _entered = runtime.enter();
            (
                signal(SignalKind::interrupt()).map_err(refused)?,
                signal(SignalKind::terminate()).map_err(refused)?,
            )
        };
        let listen = move || {
            runtime.block_on(async move {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    if sender.send_replace(true) {
                        if let Some(path) = leftovers.lock().ok().and_then(|mut path| path.take()) {
                            let _ = std::fs::remove_dir_all(path);
                        }
                        std::process::exit(1);
                    }
                }
            });
        };
        std::thread::Builder::new().name("signals".into()).spawn(listen).map_err(refused)?;
        Ok(stop)
    }

    /// Whether a signal has come.
    pub fn requested(&self) -> bool {
        *self.asked.borrow()
    }

    /// Resolves when a signal has come.
    pub async fn wait(&mut self) {
        if self.asked.wait_for(|asked| *asked).await.is_err() {
            // The listener is gone, so no signal can come any more.
            std::future::pending::<()>().await;
        }
    }

    /// Names a directory that the second signal removes before the process ends.
    #[cfg(feature = "demo")]
    pub fn remove_when_killed(&self, directory: Option<PathBuf>) {
        if let Ok(mut leftovers) = self.leftovers.lock() {
            *leftovers = directory;
        }
    }
}
