//! What trackers are told of bytes and events, and what is counted of their answers.

use super::*;

/// What a tracker could not be told when a torrent stopped is told when it is back.
#[test]
fn bytes_that_no_tracker_heard_of_are_told_after_the_next_start() {
    play(|play| async move {
        let uploaded = Rc::new(Cell::new(0));
        play.start_counting(&[&["a"], &["b"]], &uploaded);
        pass(SECOND).await;
        play.stage.set("a", Answers::Silent);
        uploaded.set(500);
        play.announcer.stop(id(1));
        pass(HTTP_TIMEOUT * 2).await;
        play.stage.answers.borrow_mut().clear();
        play.start_counting(&[&["a"], &["b"]], &uploaded);
        pass(SECOND).await;
        assert_eq!(play.stage.told("a"), [(Started, 0), (Stopped, 500), (Started, 500)]);
        assert_eq!(play.stage.told("b"), [(Started, 0), (Stopped, 500), (Started, 0)]);
    });
}

#[test]
fn completed_is_told_before_stopped_when_both_come_at_once() {
    play(|play| async move {
        let uploaded = Rc::new(Cell::new(0));
        play.start_counting(&[&["a"]], &uploaded);
        pass(SECOND).await;
        uploaded.set(3);
        play.announcer.completed(id(1));
        play.announcer.stop(id(1));
        pass(SECOND).await;
        assert_eq!(play.stage.told("a"), [(Started, 0), (Completed, 3), (Stopped, 3)]);
        assert!(play.announcer.core.state.borrow().stopping.is_empty());
    });
}

#[test]
fn the_peers_of_the_last_answer_are_counted_over_both_families() {
    play(|play| async move {
        play.stage.both_families.set(true);
        play.start(1, &[&["a"]]);
        assert_eq!(play.announcer.status(id(1))[0].peers, None);
        pass(SECOND * 9).await;
        assert_eq!(play.announcer.status(id(1))[0].peers, Some(2));
        play.stage.set("a", Answers::After(SECOND, AnnounceResponse::default()));
        pass(INTERVAL_DEFAULT * 2).await;
        assert_eq!(play.announcer.status(id(1))[0].peers, Some(0));
    });
}

#[test]
fn a_torrent_that_is_back_before_stopped_was_sent_goes_on() {
    play(|play| async move {
        let uploaded = Rc::new(Cell::new(0));
        play.start_counting(&[&["a"]], &uploaded);
        pass(SECOND).await;
        uploaded.set(5);
        play.announcer.stop(id(1));
        play.start_counting(&[&["a"]], &uploaded);
        pass(SECOND).await;
        assert_eq!(play.stage.told("a"), [(Started, 0), (Regular, 5)]);
        // Announced once more without a stop: it goes on as well.
        play.start_counting(&[&["a"]], &uploaded);
        pass(SECOND).await;
        assert_eq!(play.stage.told("a").len(), 2);
    });
}

/// A download that is moved when it is done: `completed` is still on its way when the torrent stops and starts again.
#[test]
fn completed_in_flight_is_told_once_and_stopped_does_not_overtake_it() {
    play(|play| async move {
        let uploaded = Rc::new(Cell::new(0));
        play.start_counting(&[&["a"]], &uploaded);
        pass(SECOND).await;
        play.stage.set("a", Answers::After(SECOND * 5, AnnounceResponse::default()));
        play.announcer.completed(id(1));
        pass(SECOND).await;
        play.announcer.stop(id(1));
        pass(SECOND).await;
        assert_eq!(play.stage.events("a"), [Started, Completed], "the answer is waited for");
        pass(SECOND * 20).await;
        assert_eq!(play.stage.events("a"), [Started, Completed, Stopped]);
        // Again, and back before the answer is here.
        play.start_counting(&[&["a"]], &uploaded);
        pass(SECOND * 10).await;
        play.announcer.completed(id(1));
        pass(SECOND).await;
        play.announcer.stop(id(1));
        uploaded.set(4);
        play.start_counting(&[&["a"]], &uploaded);
        pass(SECOND * 20).await;
        let told = play.stage.told("a")[3..].to_vec();
        assert_eq!(told, [(Started, 0), (Completed, 0), (Regular, 4)]);
        // At the end nothing in flight is waited for.
        play.announcer.reannounce(id(1));
        pass(Duration::from_secs(61)).await;
        let began = Instant::now();
        play.announcer.shutdown(SECOND * 8).await;
        assert!(began.elapsed() <= SECOND * 6, "{:?}", began.elapsed());
        assert_eq!(play.stage.events("a").last(), Some(&Stopped));
    });
}
