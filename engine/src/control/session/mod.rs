//! The session: all torrents, and the one place where their activity changes. What handles ask is in `commands`, how
//! activities follow each other in `transitions`, what shards report in `reports`; `queue`, `share_limits` and `alt_speed`
//! start and stop torrents, `files` moves their data, `renames` is what it may be called, `lists` what commands do to lists of torrents, `census` knows what needs no look at all
//! of them, `claims` and `sharing` are for torrents at one path, `port` is where peers connect to, `resume` keeps them between runs, `settings` is what the user may
//! change, `totals` what was moved, `publish` what others are told.

mod adding;
mod alt_speed;
mod census;
pub(in crate::control) mod claims;
mod commands;
mod ending;
mod files;
mod flushes;
mod lists;
mod port;
mod publish;
mod queue;
mod renames;
mod reports;
mod resume;
mod settings;
mod share_limits;
mod sharing;
mod store_care;
#[cfg(test)]
mod tests;
mod totals;
mod transitions;

use super::activity::Activity;
use super::loader::StoreGuard;
use super::outside::{Clock, SessionStore, Trackers};
use super::pieces::Pieces;
use super::torrent::Torrent;
use super::work::{Opening, Work};
use crate::config::EngineConfig;
use crate::shard::mailbox;
use crate::shard::message::ToShard;
use crate::shard::publish::ShardSnapshot;
use crate::shard::rate::RateLimit;
use crate::shard::registry::{Registry, TorrentEntry, home_shard};
use adding::Second;
use arc_swap::ArcSwap;
use census::Census;
use claims::Claims;
use ending::Ending;
use flushes::Flushes;
use lists::Ticket;
pub(in crate::control) use renames::renamed;
use ringseed_handle::Command;
use ringseed_handle::Torrents;
use ringseed_handle::{EngineLimits, EngineSnapshot, UnderWay};
use ringseed_net::blocklist::Blocklist;
use ringseed_net::listener::PortClaim;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Metainfo;
use ringseed_storage::{
    SessionSettings, SetLimit, SizeCheck, SpeedLimit, StoreLimits, TorrentSettings, TorrentStore,
};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize};
use std::time::Instant;
use store_care::StoreFailure;
pub(in crate::control) use store_care::tell_rebuilt;
use tokio::sync::{oneshot, watch};
use totals::Counted;

/// Torrents that a shard lets go of in one turn: less than a millisecond of its time when nobody is connected.
const STOPS_AT_ONCE: usize = 512;

/// What a session is made of.
pub struct SessionParts {
    /// Settings of the engine.
    pub settings: Arc<EngineConfig>,
    /// The torrents as shards see them.
    pub registry: Arc<Registry>,
    /// Mailboxes of the shards.
    pub shards: Vec<mailbox::Sender<ToShard>>,
    /// What the shards publish.
    pub published: Vec<Arc<ArcSwap<ShardSnapshot>>>,
    /// Budgets of all stores.
    pub store_limits: Arc<StoreLimits>,
    /// Where state is kept between runs, once it is open.
    pub resume: Option<Arc<dyn SessionStore>>,
    /// Whether a loader hands over what is in it.
    pub loads: bool,
    /// Tracker clients.
    pub trackers: Rc<dyn Trackers>,
    /// What time it is.
    pub clock: Rc<dyn Clock>,
    /// The port that is listened on, as handles see it.
    pub listen_port: Arc<AtomicU16>,
    /// Keeps other engines off it.
    pub claim: Option<PortClaim>,
    /// Where snapshots go.
    pub snapshot: Arc<ArcSwap<EngineSnapshot>>,
    /// Told of each new snapshot.
    pub changed: watch::Sender<u64>,
    /// Connections open in the engine.
    pub connections: Arc<AtomicUsize>,
    /// Upload limit of the engine, as the shards see it.
    pub upload_limit: Arc<RateLimit>,
    /// Download limit of the engine, as the shards see it.
    pub download_limit: Arc<RateLimit>,
}

/// All torrents and what is under way with them.
pub struct Session {
    parts: SessionParts,
    torrents: BTreeMap<u32, Torrent>,
    ids: HashMap<TorrentId, u32>,
    next_id: u32,
    limits: EngineLimits,
    settings: Arc<SessionSettings>,
    /// Torrents removed lately, with when that was.
    removed: Arc<Vec<(Instant, u32)>>,
    /// The blocklist, whether it holds or not.
    blocklist: Option<Arc<Blocklist>>,
    /// Lists of torrents, and which ones changed.
    census: Census,
    /// The torrents as the last snapshot has them.
    shown: Torrents,
    /// The last place in the queue that is taken.
    last_place: i64,
    /// Whether a queue may have a place to give.
    queue_due: bool,
    /// What was sent and received.
    counted: Counted,
    /// Torrents whose trackers were edited, and the shards that have not yet counted what they moved.
    counting: HashMap<TorrentId, HashSet<usize>>,
    clock_looked_at: Instant,
    times_looked_at: Instant,
    /// The number of the interface that is listened on.
    interface: Option<u32>,
    /// Whether the port that was set could not be had yet.
    port_missing: bool,
    network_looked_at: Instant,
    /// Why there is no network, when the interface is not there.
    trouble: Option<Arc<str>>,
    /// Work that somebody is to begin: taken out after each event ([`Session::take_work`]).
    work: Vec<Work>,
    /// The paths of all torrents.
    claims: Claims,
    /// Torrents that are being added, and who added them once more meanwhile.
    opening: HashMap<TorrentId, Vec<Second>>,
    /// Those whose files were looked at just now.
    opened: Vec<Opening>,
    /// Torrents whose files are being moved or renamed.
    moving: HashSet<TorrentId>,
    /// Torrents whose files are handled once shards have let go of others.
    held_work: Vec<TorrentId>,
    /// Who waits for the end of a rename.
    renaming: HashMap<TorrentId, Ticket>,
    /// Who waits for the end of a removal.
    leaving: HashMap<TorrentId, Vec<Ticket>>,
    sequences: Vec<u64>,
    /// What each shard had under way, and the handshakes that had ended on it.
    around: Vec<(UnderWay, [u64; 5])>,
    /// Torrents that each shard published something of last.
    sampled: Vec<HashSet<u32>>,
    /// Torrents that may have reached a goal, though no shard publishes them.
    share_limits_unsure: HashSet<u32>,
    /// Something changed that no shard published.
    dirty: bool,
    /// Torrents that the shards are to let go of, all in one message.
    stops: Vec<TorrentId>,
    /// Torrents that shards have let go of, each with the shard, which is looked at in turns.
    let_go: VecDeque<(usize, TorrentId)>,
    /// Messages that a full mailbox did not take yet, in order, by shard.
    unsent: Vec<VecDeque<ToShard>>,
    /// Torrents with pieces, totals or stamps that the resume store does not have.
    unsaved: HashSet<TorrentId>,
    /// Torrents of which more than progress could not be stored.
    owed: HashSet<TorrentId>,
    /// The resume store cannot be used.
    store_failure: Option<StoreFailure>,
    /// Ends the thread that writes beside the store.
    store_guard: Option<StoreGuard>,
    /// Checked torrents whose files are brought to disk, so that what was found may be claimed.
    flushes: Flushes,
    ended: HashSet<usize>,
    /// Stored torrents are still being handed over.
    loading: bool,
    /// Commands that came meanwhile, at most [`crate::limits::CONTROL_QUEUE`].
    held: Vec<Command>,
    shutdown: Option<oneshot::Sender<()>>,
    stopping: bool,
    /// The end, once it has begun.
    ending: Option<Ending>,
}

impl Session {
    /// A session of `parts`, empty.
    pub fn new(parts: SessionParts) -> Self {
        let (shards, loading, now) = (parts.shards.len(), parts.loads, parts.clock.now());
        let limits = EngineLimits {
            upload: parts.settings.upload_rate_max.into(),
            download: parts.settings.download_rate_max.into(),
        };
        let mut settings = SessionSettings::default();
        settings.configure_trackers(&parts.settings.default_trackers);
        settings.configure_encryption(parts.settings.encryption);
        parts.registry.set_encryption(settings.encryption);
        Self {
            settings: Arc::new(settings),
            removed: Arc::default(),
            blocklist: None,
            census: Census::default(),
            shown: Torrents::default(),
            last_place: 0,
            queue_due: false,
            counted: Counted::new(now),
            counting: HashMap::new(),
            clock_looked_at: now,
            times_looked_at: now,
            interface: parts.settings.bind_interface.as_deref().and_then(ringseed_net::route::number),
            port_missing: false,
            network_looked_at: now,
            trouble: None,
            work: Vec::new(),
            claims: Claims::default(),
            opening: HashMap::new(),
            opened: Vec::new(),
            moving: HashSet::new(),
            held_work: Vec::new(),
            renaming: HashMap::new(),
            leaving: HashMap::new(),
            parts,
            limits,
            torrents: BTreeMap::new(),
            ids: HashMap::new(),
            next_id: 1,
            sequences: vec![0; shards],
            around: vec![Default::default(); shards],
            sampled: vec![HashSet::new(); shards],
            share_limits_unsure: HashSet::new(),
            dirty: true,
            stops: Vec::new(),
            let_go: VecDeque::new(),
            unsent: (0..shards).map(|_| VecDeque::new()).collect(),
            unsaved: HashSet::new(),
            owed: HashSet::new(),
            store_failure: None,
            store_guard: None,
            flushes: Flushes::default(),
            ended: HashSet::new(),
            loading,
            held: Vec::new(),
            shutdown: None,
            stopping: false,
            ending: None,
        }
    }

    /// What is to be done beside the session: to be taken after each event, and begun in this order. How each of it ends is
    /// to be handed to [`Session::on_done`].
    pub fn take_work(&mut self) -> Vec<Work> {
        std::mem::take(&mut self.work)
    }

    fn now(&self) -> Instant {
        self.parts.clock.now()
    }

    /// Takes over what the user wanted of the session in earlier runs.
    fn take_settings(&mut self, store: &dyn SessionStore) {
        let mut settings = match store.session() {
            Ok(settings) => settings,
            Err(error) => {
                tracing::error!(%error, "the session's settings cannot be read: the usual ones hold");
                SessionSettings::default()
            }
        };
        // What was set holds until the configuration says something new.
        let limit = |configured: Option<u64>, set: Option<SetLimit>| match set {
            Some(set) if set.configured == configured => set.limit,
            _ => SpeedLimit::from(configured),
        };
        let configured = &self.parts.settings;
        settings.configure_trackers(&configured.default_trackers);
        settings.configure_encryption(configured.encryption);
        self.parts.registry.set_encryption(settings.encryption);
        self.limits = EngineLimits {
            upload: limit(configured.upload_rate_max, settings.upload),
            download: limit(configured.download_rate_max, settings.download),
        };
        self.parts.store_limits.set_partial_names(settings.partial_names);
        self.settings = Arc::new(settings);
        self.apply_limits();
        self.apply_blocklist();
        self.take_port();
    }

    fn entry(&self, metainfo: Arc<Metainfo>, store: Arc<TorrentStore>) -> Arc<TorrentEntry> {
        let home = home_shard(&metainfo.id(), self.parts.shards.len());
        Arc::new(TorrentEntry::new(metainfo, store, home))
    }

    /// An entry of a torrent that goes on with other files or names, and goes on counting.
    fn entry_in_place_of(
        &self,
        old: &TorrentEntry,
        metainfo: Arc<Metainfo>,
        store: Arc<TorrentStore>,
    ) -> Arc<TorrentEntry> {
        Arc::new(TorrentEntry::new(metainfo, store, old.home).in_place_of(old))
    }

    fn insert(
        &mut self,
        entry: Arc<TorrentEntry>,
        pieces: Pieces,
        data_dir: PathBuf,
        roots: Option<Vec<PathBuf>>,
        set: impl FnOnce(&mut Torrent),
    ) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        self.ids.insert(entry.id(), id);
        let mut torrent = Torrent {
            id,
            entry,
            activity: Activity::Paused,
            pieces,
            data_dir,
            uploaded_before: 0,
            downloaded_before: 0,
            added_at: self.parts.clock.wall(),
            finished_at: None,
            settings: Arc::new(TorrentSettings { queue: self.last_place + 1, ..TorrentSettings::default() }),
            active_at: 0,
            running_since: None,
            forced: false,
            upload_limit: SpeedLimit::default(),
            download_limit: SpeedLimit::default(),
            unchecked: false,
            warning: None,
            stays: false,
            waits: false,
            announced: false,
            known_peers: Vec::new(),
            run_began_at: (0, 0),
            entered: (0, 0),
            samples: Vec::new(),
            changes: self.census.changes.clone(),
            listed: false,
            shown: false,
            counted_as: None,
        };
        set(&mut torrent);
        torrent.run_began_at = (torrent.uploaded(), torrent.downloaded());
        torrent.entered = torrent.run_began_at;
        torrent.count_left();
        self.last_place = self.last_place.max(torrent.settings.queue);
        torrent.touch();
        let torrent_id = torrent.entry.id();
        let layout = roots.is_some().then(|| torrent.entry.content.info.clone());
        self.torrents.insert(id, torrent);
        match (roots, layout) {
            (Some(roots), Some(info)) => self.claims.hold(torrent_id, roots, &[&info.layout]),
            _ => self.hold_paths(torrent_id),
        }
        id
    }

    fn broadcast(&mut self, mut message: impl FnMut() -> ToShard) {
        for shard in 0..self.parts.shards.len() {
            self.send(shard, message());
        }
    }

    fn send(&mut self, shard: usize, message: ToShard) {
        self.unsent[shard].push_back(message);
        self.flush();
    }

    /// Sends what was gathered and what full mailboxes have not taken.
    pub fn flush(&mut self) {
        for stops in std::mem::take(&mut self.stops).chunks(STOPS_AT_ONCE) {
            let stops: Arc<[TorrentId]> = stops.into();
            self.unsent.iter_mut().for_each(|queue| queue.push_back(ToShard::Stop(stops.clone())));
        }
        for (queue, shard) in self.unsent.iter_mut().zip(&self.parts.shards) {
            while let Some(message) = queue.pop_front() {
                if let Err(back) = shard.send(message) {
                    queue.push_front(back);
                    break;
                }
            }
        }
    }

    /// Takes over what shards published and makes a new snapshot when something changed, or at once when
    /// `now` is set.
    pub fn refresh(&mut self, now: bool) {
        self.flush();
        for shard in 0..self.parts.published.len() {
            self.take_published(shard);
        }
        for torrent_id in self.parts.trackers.take_changed() {
            if let Some(torrent) = self.torrent(&torrent_id) {
                torrent.touch();
                self.dirty = true;
            }
        }
        for torrent_id in &self.moving {
            if let Some(torrent) = self.ids.get(torrent_id).and_then(|id| self.torrents.get_mut(id)) {
                torrent.touch();
                self.dirty = true;
            }
        }
        self.watch_network();
        self.check_share_limits();
        self.fill_queues();
        self.keep_totals();
        self.watch_store();
        if !self.unsaved.is_empty() {
            self.save_progress();
        }
        if self.dirty || now {
            self.dirty = false;
            self.make_snapshot();
        }
    }
}

/// Whether any file of the torrent is there.
fn has_data(entry: &TorrentEntry) -> bool {
    has_files(&entry.store)
}

/// Whether any file of a store is there.
pub(in crate::control) fn has_files(store: &TorrentStore) -> bool {
    // What cannot be looked at is looked at by the verification, which tells what is wrong.
    store.check_sizes().map_or(true, |checks| {
        let mut files = checks.iter().zip(&store.layout().files);
        files.any(|(check, file)| *check != SizeCheck::Missing && !file.padding && file.length > 0)
    })
}
