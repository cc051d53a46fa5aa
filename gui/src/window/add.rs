//! The dialog that adds a torrent.

use super::context::Context;
use super::generated::{AddAdapter, Dialog, MainWindow, PickLine, ToolbarAdapter, Wanted, WindowAdapter};
use ringseed_api::AddArgs;
use ringseed_gui::add::{Contents, Picker, labels, local_path};
use ringseed_gui::details::{FileRow, Priority};
use slint::{ComponentHandle, Model, ModelRc, SharedString, VecModel};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use tokio::sync::oneshot;

/// The dialog from its opening to its end.
struct Adding {
    context: Rc<Context>,
    picker: RefCell<Picker>,
    /// The torrent file that the picker's files are of, or will be.
    read: RefCell<Option<PathBuf>>,
    /// Counts readings: only what the last one finds is shown.
    reading: Cell<u64>,
}

pub(super) fn connect(window: &MainWindow, context: &Rc<Context>) {
    let adding = Rc::new(Adding {
        context: context.clone(),
        picker: RefCell::default(),
        read: RefCell::default(),
        reading: Cell::new(0),
    });
    let adapter = window.global::<AddAdapter>();
    adapter.set_files(ModelRc::new(VecModel::<PickLine>::default()));
    let toolbar = window.global::<ToolbarAdapter>();
    let own = adding.clone();
    toolbar.on_add_file(move || {
        own.open();
        own.browse();
    });
    let own = adding.clone();
    toolbar.on_add_link(move || own.open());
    let own = adding.clone();
    adapter.on_browse(move || own.browse());
    let own = adding.clone();
    adapter.on_browse_folder(move || own.browse_folder());
    let own = adding.clone();
    adapter.on_source_edited(move || own.read());
    let own = adding.clone();
    adapter.on_file_toggled(move |line| own.pick(|picker| picker.toggle(index(line))));
    let own = adding.clone();
    adapter.on_folder_toggled(move |line| own.pick(|picker| picker.toggle_folder(index(line))));
    let own = adding.clone();
    adapter.on_want_all(move |wanted| own.pick(|picker| picker.want_all(wanted)));
    adapter.on_accepted(move || adding.accept());
}

impl Adding {
    fn window(&self) -> Option<MainWindow> {
        self.context.window.upgrade()
    }

    /// Opens the dialog, empty.
    fn open(self: &Rc<Adding>) {
        let Some(window) = self.window() else { return };
        let adapter = window.global::<AddAdapter>();
        adapter.set_source(SharedString::new());
        adapter.set_labels(SharedString::new());
        adapter.set_sequential(false);
        adapter.set_is_local(self.context.app.borrow().is_local());
        if let Some(session) = self.context.app.borrow().session() {
            adapter.set_folder(session.download_dir.as_str().into());
            adapter.set_paused(!session.start_added_torrents);
        }
        self.read();
        window.global::<WindowAdapter>().set_dialog(Dialog::Add);
    }

    /// Reads the torrent file that is named, on a thread of its own: it may be on a slow disk.
    fn read(self: &Rc<Adding>) {
        let Some(window) = self.window() else { return };
        let adapter = window.global::<AddAdapter>();
        let path = local_path(adapter.get_source().trim()).filter(|path| path.is_file());
        if path.is_some() && *self.read.borrow() == path {
            return;
        }
        self.read.replace(path.clone());
        let number = self.reading.get() + 1;
        self.reading.set(number);
        adapter.set_problem(SharedString::new());
        self.pick(Picker::clear);
        let Some(path) = path else { return };
        let (tell, told) = oneshot::channel();
        let thread = std::thread::Builder::new().name("torrent file".to_owned()).spawn(move || {
            // Nobody is told when the window is gone.
            let _ = tell.send(Contents::read(&path));
        });
        if let Err(error) = thread {
            tracing::warn!(%error, "no thread to read a torrent file");
        }
        let own = self.clone();
        super::spawn(async move {
            match told.await {
                Ok(contents) if own.reading.get() == number => own.take(contents),
                // Another file was named meanwhile, or there is no thread.
                _ => {}
            }
        });
    }

    fn take(&self, contents: Result<Contents, String>) {
        match (contents, self.window()) {
            (Ok(contents), _) => self.pick(|picker| picker.set(contents)),
            (Err(why), Some(window)) => window.global::<AddAdapter>().set_problem(why.into()),
            (Err(_), None) => {}
        }
    }

    /// Changes what is chosen and shows it.
    fn pick(&self, deed: impl FnOnce(&mut Picker)) {
        let Some(window) = self.window() else { return };
        let adapter = window.global::<AddAdapter>();
        let mut picker = self.picker.borrow_mut();
        deed(&mut picker);
        if let Some(model) = adapter.get_files().as_any().downcast_ref::<VecModel<PickLine>>() {
            super::fill(model, picker.rows().into_iter().map(line).collect());
        }
        adapter.set_summary(picker.summary().into());
    }

    fn accept(&self) {
        let Some(window) = self.window() else { return };
        let adapter = window.global::<AddAdapter>();
        let source = adapter.get_source();
        if source.trim().is_empty() {
            return;
        }
        let folder = adapter.get_folder().trim().to_owned();
        if !folder.is_empty() && !folder.starts_with('/') {
            adapter.set_problem("The folder must be an absolute path on the engine's machine.".into());
            return;
        }
        if self.picker.borrow().wants_nothing() {
            adapter.set_problem("Choose at least one file.".into());
            return;
        }
        let args = AddArgs {
            download_dir: Some(folder).filter(|folder| !folder.is_empty()),
            paused: adapter.get_paused(),
            sequential_download: adapter.get_sequential(),
            labels: labels(&adapter.get_labels()),
            ..AddArgs::default()
        };
        let args = self.picker.borrow().apply(args);
        self.context.act(|app| app.add(&source, &args));
        super::close_dialog(&window);
    }

    /// Asks the desktop for a file. Where there is no desktop that can be asked, the path is typed.
    fn browse(self: &Rc<Adding>) {
        let own = self.clone();
        super::spawn(async move {
            let file = rfd::AsyncFileDialog::new()
                .set_title("Add torrent file")
                .add_filter("Torrent files", &["torrent"])
                .pick_file()
                .await;
            if let (Some(file), Some(window)) = (file, own.window()) {
                window.global::<AddAdapter>().set_source(file.path().to_string_lossy().as_ref().into());
                own.read();
            }
        });
    }

    fn browse_folder(self: &Rc<Adding>) {
        let own = self.clone();
        super::spawn(async move {
            let folder = rfd::AsyncFileDialog::new().set_title("Save below").pick_folder().await;
            if let (Some(folder), Some(window)) = (folder, own.window()) {
                window.global::<AddAdapter>().set_folder(folder.path().to_string_lossy().as_ref().into());
            }
        });
    }
}

fn index(line: i32) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX)
}

fn line(row: FileRow) -> PickLine {
    PickLine {
        name: row.name.into(),
        depth: super::row_number(row.depth),
        is_folder: row.is_folder,
        is_open: row.is_open,
        size: row.size.into(),
        wanted: match row.priority {
            Some(Priority::Skip) => Wanted::No,
            Some(_) => Wanted::Yes,
            None => Wanted::Partly,
        },
    }
}
