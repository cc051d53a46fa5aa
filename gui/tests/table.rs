//! The table without a window: what is shown, in which order, what is selected, and which rows change.

use ringseed_gui::rpc::{Listed, ListedTracker};
use ringseed_gui::torrents::{Choice, Click, Column, Filter, State, StateFilter, Step, Table, TableChange};

fn torrent(id: u32, name: &str) -> Listed {
    Listed {
        id,
        name: name.to_owned(),
        status: 4,
        total_size: 1000,
        size_when_done: 1000,
        left_until_done: 400,
        percent_done: 0.6,
        upload_ratio: -1.0,
        tracker_stats: Some(vec![ListedTracker {
            host: "http://tracker.example.org:80".to_owned(),
            seeder_count: 3,
            leecher_count: 1,
        }]),
        ..Listed::default()
    }
}

fn table() -> Table {
    let mut table = Table::default();
    let seeding =
        Listed { status: 6, left_until_done: 0, percent_done: 1.0, rate_upload: 9, ..torrent(2, "Banana") };
    let paused = Listed { status: 0, labels: vec!["linux".to_owned()], ..torrent(3, "cherry") };
    table.replace(vec![
        paused,
        torrent(1, "äpfel"),
        seeding,
        Listed { tracker_stats: None, ..torrent(4, "apple pie") },
    ]);
    table
}

fn names(table: &Table) -> Vec<String> {
    (0..table.len()).map(|row| table.row(row).unwrap().cells[Column::Name.index()].clone()).collect()
}

#[test]
fn rows_go_by_name_without_case_first() {
    assert_eq!(names(&table()), ["apple pie", "Banana", "cherry", "äpfel"]);
}

#[test]
fn a_heading_turns_the_order_round_and_numbers_start_with_the_largest() {
    let mut table = table();
    table.click_heading(Column::Name);
    assert_eq!(names(&table), ["äpfel", "cherry", "Banana", "apple pie"]);
    table.click_heading(Column::Up);
    assert_eq!(names(&table)[0], "Banana");
    // Ties go by name, whichever way the column goes.
    assert_eq!(names(&table)[1..], ["apple pie", "cherry", "äpfel"]);
}

#[test]
fn news_change_rows_in_place() {
    let mut table = table();
    let news = Listed { rate_download: 500, tracker_stats: None, ..torrent(1, "äpfel") };
    let change = table.update(vec![news.clone()], &[]);
    assert_eq!(change, TableChange { changed: vec![3], old_len: 4, new_len: 4 });
    let row = table.row(3).unwrap();
    assert_eq!(row.cells[Column::Down.index()], "500 B/s");
    assert_eq!(row.cells[Column::Seeds.index()], "3", "trackers stay when news leave them out");
    assert!(table.update(vec![news], &[]).is_empty(), "the same news change nothing");
}

#[test]
fn removed_torrents_leave_and_the_rest_moves_up() {
    let mut table = table();
    let change = table.update(Vec::new(), &[2, 77]);
    assert_eq!(change, TableChange { changed: vec![1, 2], old_len: 4, new_len: 3 });
    assert_eq!(names(&table), ["apple pie", "cherry", "äpfel"]);
}

#[test]
fn filters_combine_with_the_search() {
    let mut table = table();
    table.choose(Choice::State(StateFilter::Downloading));
    assert_eq!(names(&table), ["apple pie", "äpfel"]);
    table.choose(Choice::Tracker(Some("tracker.example.org".to_owned())));
    assert_eq!(names(&table), ["äpfel"]);
    table.set_filter(Filter { search: "PIE app".to_owned(), ..Filter::default() });
    assert_eq!(names(&table), ["apple pie"]);
    table.set_filter(Filter { label: Some(String::new()), ..Filter::default() });
    assert_eq!(table.len(), 3, "those without any label");
}

#[test]
fn the_side_bar_counts_all_torrents_whatever_is_shown() {
    let mut table = table();
    table.choose(Choice::State(StateFilter::Seeding));
    let count = |title: &str| {
        let items = table.sidebar();
        items.iter().find(|item| item.title == title).map(|item| (item.count, item.chosen))
    };
    assert_eq!(count("Downloading"), Some((2, false)));
    assert_eq!(count("Seeding"), Some((1, true)));
    assert_eq!(count("Paused"), Some((1, false)));
    assert_eq!(count("Active"), Some((1, false)));
    assert_eq!(count("linux"), Some((1, false)));
    assert_eq!(count("tracker.example.org"), Some((3, false)));
    assert_eq!(count("No tracker"), Some((1, false)));
}

#[test]
fn clicks_select_as_in_a_list_of_files() {
    let mut table = table();
    let (toggle, range) = (Click { toggle: true, range: false }, Click { toggle: false, range: true });
    assert_eq!(table.click(1, Click::default()).changed, [1]);
    table.click(3, range);
    assert_eq!(table.selected(), [2, 3, 1]);
    table.click(2, toggle);
    assert_eq!(table.selected(), [2, 1]);
    assert_eq!(
        table.point(1),
        TableChange { changed: vec![], old_len: 4, new_len: 4 },
        "a right click keeps it"
    );
    table.point(0);
    assert_eq!(table.selected(), [4], "a right click elsewhere selects there");
    table.step(Step::Last, true);
    assert_eq!(table.selected().len(), 4);
    table.step(Step::By(-2), false);
    assert_eq!((table.selected(), table.current_row()), (vec![2], Some(1)));
    table.select_all();
    assert_eq!(table.selected().len(), 4);
    assert_eq!(table.select_none().changed, [0, 1, 2, 3]);
}

#[test]
fn a_selection_follows_its_torrents_and_forgets_what_is_hidden() {
    let mut table = table();
    table.click(1, Click::default());
    table.click_heading(Column::Name);
    assert_eq!((table.selected(), table.current_row()), (vec![2], Some(2)));
    table.choose(Choice::State(StateFilter::Paused));
    assert!(table.selected().is_empty() && table.current().is_none());
}

#[test]
fn keys_on_an_empty_table_do_nothing() {
    let mut table = Table::default();
    assert!(table.step(Step::By(1), false).is_empty() && table.step(Step::Last, true).is_empty());
    assert!(table.click(5, Click::default()).is_empty() && table.select_all().is_empty());
    assert!(table.row(0).is_none());
}

#[test]
fn states_are_named_for_people() {
    let mut table = Table::default();
    let state = |table: &mut Table, listed: Listed| {
        table.replace(vec![listed]);
        table.row(0).unwrap().state
    };
    assert_eq!(state(&mut table, torrent(1, "a")), State::Downloading);
    let done = Listed { status: 0, left_until_done: 0, ..torrent(1, "a") };
    assert_eq!(state(&mut table, done), State::Done);
    let magnet = Listed { metadata_percent_complete: Some(0.0), left_until_done: 0, ..torrent(1, "a") };
    assert_eq!(state(&mut table, magnet), State::Metadata);
    let broken = Listed { status: 0, error: 3, ..torrent(1, "a") };
    assert_eq!(state(&mut table, broken), State::Error);
}
