//! Torrents that are made over the RPC: one at a time on a thread of its own, with less right to the processor than those
//! that serve peers.

use super::arguments::ArgumentError;
use super::base64;
use super::error::Code;
use super::methods::{Outcome, empty, write};
use super::server::Server;
use super::trackers::{TrackersError, check_url};
use ringseed_api::{CreateArgs, Creation, CreationState, Creations, CreationsArgs};
use ringseed_create::{self as create, Content, CreateFailure, Output, check_allowed};
use ringseed_proto::create::CreateOptions;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::limits::TRACKERS_MAX;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// Creations that wait or are made.
const UNFINISHED_MAX: usize = 16;
/// Creations that are remembered when they are done.
const FINISHED_MAX: usize = 16;
/// Bytes of torrents that are remembered.
const FINISHED_BYTES_MAX: usize = 64 << 20;
/// Priority of the thread: that of what may wait.
const NICE: i32 = 10;

/// Why no torrent is made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CreationError {
    /// As many as may be are being made or wait for it.
    #[error("{UNFINISHED_MAX} torrents are being made: wait for one, or cancel it")]
    TooMany,
    /// There is no creation with this id.
    #[error("no torrent is or was made under the id {0}")]
    Unknown(u32),
    /// The thread that makes them cannot be started.
    #[error("cannot start a thread: {0}")]
    NoThread(io::Error),
    /// It has ended.
    #[error("the thread that makes torrents has ended")]
    ThreadEnded,
}

impl CreationError {
    /// Its code in the JSON-RPC form.
    pub(super) fn code(&self) -> Code {
        match self {
            CreationError::TooMany => Code::Refused,
            CreationError::Unknown(_) => Code::InvalidParams,
            CreationError::NoThread(_) => Code::System,
            CreationError::ThreadEnded => Code::InternalError,
        }
    }
}

/// A creation, as its thread and the RPC see it.
struct Job {
    args: CreateArgs,
    allowed: Arc<[PathBuf]>,
    begun: AtomicBool,
    hashed: AtomicU64,
    total: AtomicU64,
    stop: AtomicBool,
    end: OnceLock<Result<Made, CreateFailure>>,
}

/// A torrent.
struct Made {
    torrent_id: TorrentId,
    /// Empty when it was written.
    metainfo: Vec<u8>,
}

/// All creations of this run that are remembered.
#[derive(Default)]
pub(super) struct AllCreations {
    jobs: BTreeMap<u32, Arc<Job>>,
    last_id: u32,
    /// The thread, once there was one to be made.
    queue: Option<SyncSender<Arc<Job>>>,
}

impl AllCreations {
    fn begin(&mut self, args: CreateArgs, allowed: Arc<[PathBuf]>) -> Result<u32, CreationError> {
        if self.jobs.values().filter(|job| job.end.get().is_none()).count() >= UNFINISHED_MAX {
            return Err(CreationError::TooMany);
        }
        let job = Arc::new(Job {
            args,
            allowed,
            begun: AtomicBool::new(false),
            hashed: AtomicU64::new(0),
            total: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            end: OnceLock::new(),
        });
        let queue = match &self.queue {
            Some(queue) => queue.clone(),
            None => {
                let (queue, jobs) = sync_channel(UNFINISHED_MAX);
                let thread = std::thread::Builder::new().name("create".into()).spawn(move || work(&jobs));
                thread.map_err(CreationError::NoThread)?;
                self.queue.insert(queue).clone()
            }
        };
        // Called-off ones may still be in it.
        queue.try_send(job.clone()).map_err(|error| match error {
            TrySendError::Full(_) => CreationError::TooMany,
            TrySendError::Disconnected(_) => CreationError::ThreadEnded,
        })?;
        self.last_id += 1;
        self.jobs.insert(self.last_id, job);
        Ok(self.last_id)
    }

    /// Forgets the oldest ones beyond what is remembered.
    fn forget(&mut self) {
        let (mut count, mut bytes) = (0, 0);
        let mut gone = Vec::new();
        for (id, job) in self.jobs.iter().rev() {
            let Some(end) = job.end.get() else { continue };
            count += 1;
            bytes += end.as_ref().map_or(0, |made| made.metainfo.len());
            // The last one is there to be fetched, however large it is.
            if count > FINISHED_MAX || (bytes > FINISHED_BYTES_MAX && count > 1) {
                gone.push(*id);
            }
        }
        gone.iter().for_each(|id| _ = self.jobs.remove(id));
    }

    fn chosen(&self, ids: &[u32]) -> Result<Vec<u32>, CreationError> {
        match ids.iter().find(|id| !self.jobs.contains_key(id)) {
            Some(missing) => Err(CreationError::Unknown(*missing)),
            None => Ok(ids.to_vec()),
        }
    }
}

impl Drop for AllCreations {
    fn drop(&mut self) {
        self.jobs.values().for_each(|job| job.stop.store(true, Ordering::Relaxed));
    }
}

/// The thread: one creation after the other, until nobody can ask for more.
fn work(jobs: &Receiver<Arc<Job>>) {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "torrents are made at the usual priority");
    }
    while let Ok(job) = jobs.recv() {
        job.begun.store(true, Ordering::Relaxed);
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.make()));
        let _ = job.end.set(made.unwrap_or(Err(CreateFailure::Thread)));
    }
}

impl Job {
    fn make(&self) -> Result<Made, CreateFailure> {
        let stop = || self.stop.load(Ordering::Relaxed);
        if stop() {
            return Err(CreateFailure::Cancelled);
        }
        let args = &self.args;
        let output =
            args.output.as_ref().map(|path| Output::below(&self.allowed, Path::new(path))).transpose()?;
        let content = Content::find_below(&self.allowed, Path::new(&args.path))?;
        let plan = create::plan(&content, args.piece_size)?;
        self.total.store(plan.layout().total_length, Ordering::Relaxed);
        let advance = |bytes| _ = self.hashed.fetch_add(bytes, Ordering::Relaxed);
        let hashes = create::hash(&plan, &content, 1, &advance, &stop)?;
        let now =
            || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
        let options = CreateOptions {
            tiers: args.trackers.clone(),
            web_seeds: args.web_seeds.clone(),
            private: args.private,
            source: args.source.clone(),
            comment: args.comment.clone(),
            created_by: Some(concat!("ringseed ", env!("CARGO_PKG_VERSION")).into()),
            creation_date: args.creation_date.map_or_else(now, |date| (date > 0).then_some(date)),
        };
        let metainfo = plan.finish(&hashes, options)?;
        let (torrent_id, bytes) = (metainfo.id(), metainfo.to_bytes());
        Ok(match output {
            Some(output) => {
                output.write(&bytes)?;
                Made { torrent_id, metainfo: Vec::new() }
            }
            None => Made { torrent_id, metainfo: bytes },
        })
    }

    fn told(&self, id: u32, with_metainfo: bool) -> Creation {
        let told = Creation {
            id,
            path: self.args.path.clone(),
            hashed_bytes: self.hashed.load(Ordering::Relaxed),
            total_bytes: self.total.load(Ordering::Relaxed),
            ..Creation::default()
        };
        match self.end.get() {
            None => Creation {
                state: match self.begun.load(Ordering::Relaxed) {
                    true => CreationState::Hashing,
                    false => CreationState::Waiting,
                },
                ..told
            },
            Some(Err(error)) => Creation { state: CreationState::Failed, error: error.to_string(), ..told },
            Some(Ok(made)) => Creation {
                state: CreationState::Done,
                hash_string: made.torrent_id.to_string(),
                output: self.args.output.clone().unwrap_or_default(),
                metainfo: if with_metainfo { base64::encode(&made.metainfo) } else { String::new() },
                ..told
            },
        }
    }
}

impl Server {
    pub(super) fn torrent_create(&self, args: CreateArgs) -> Outcome {
        let allowed: Arc<[PathBuf]> = self.info.create_dirs.clone().into();
        let below = |path: &str| check_allowed(&allowed, Path::new(path)).map_err(ArgumentError::CreatePath);
        below(&args.path)?;
        args.output.as_deref().map(below).transpose()?;
        if args.trackers.iter().flatten().count().max(args.trackers.len()) > TRACKERS_MAX {
            return Err(TrackersError::TooMany.into());
        }
        args.trackers.iter().flatten().try_for_each(|url| check_url(url))?;
        let seed =
            |url: &&String| ["http://", "https://", "ftp://"].iter().any(|scheme| url.starts_with(scheme));
        if let Some(wrong) = args.web_seeds.iter().find(|url| !seed(url)) {
            return Err(ArgumentError::WebSeed(wrong.clone()).into());
        }
        let mut all = self.creations.borrow_mut();
        all.forget();
        Ok(json!({"id": all.begin(args, allowed)?}))
    }

    pub(super) fn torrent_create_get(&self, args: &CreationsArgs) -> Outcome {
        let mut all = self.creations.borrow_mut();
        all.forget();
        let ids = match &args.ids {
            Some(ids) => all.chosen(ids)?,
            None => all.jobs.keys().copied().collect(),
        };
        let told = ids.iter().filter_map(|id| Some(all.jobs.get(id)?.told(*id, args.metainfo)));
        write(&Creations { creations: told.collect() })
    }

    pub(super) fn torrent_create_cancel(&self, args: &CreationsArgs) -> Outcome {
        let mut all = self.creations.borrow_mut();
        let ids = args.ids.as_deref().ok_or(ArgumentError::NoIds("torrent-create-cancel"))?;
        for id in all.chosen(ids)? {
            if let Some(job) = all.jobs.remove(&id) {
                job.stop.store(true, Ordering::Relaxed);
            }
        }
        empty()
    }
}
