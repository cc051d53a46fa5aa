//! Trackers that are edited while a torrent announces.

use super::*;

#[test]
fn edited_trackers_that_stay_go_on_counting_and_those_removed_hear_stopped() {
    play(|play| async move {
        let uploaded = Rc::new(Cell::new(1000));
        play.start_counting(&[&["a"], &["b"], &["c"]], &uploaded);
        pass(SECOND).await;
        uploaded.set(1500);
        play.set_trackers(&[&["e"], &["b"]]);
        pass(SECOND).await;
        assert_eq!(play.stage.told("a"), [(Started, 0), (Stopped, 500)]);
        assert_eq!(play.stage.told("c"), [(Started, 0), (Stopped, 500)]);
        assert_eq!(play.stage.told("b"), [(Started, 0)]);
        assert_eq!(play.stage.told("e"), [(Started, 0)]);
        let tiers: Vec<_> = play.announcer.status(id(1)).into_iter().map(|state| state.url).collect();
        assert_eq!(tiers, ["http://e/announce", "http://b/announce"]);
        uploaded.set(1700);
        pass(INTERVAL_DEFAULT * 2).await;
        assert_eq!(play.stage.told("b")[1], (Regular, 700));
        assert_eq!(play.stage.told("e")[1], (Regular, 200));
        play.announcer.stop(id(1));
        pass(SECOND).await;
        assert_eq!(play.stage.told("b").last(), Some(&(Stopped, 700)));
        assert_eq!(play.stage.told("e").last(), Some(&(Stopped, 200)));
        assert_eq!(play.stage.told("a").len(), 2);
    });
}

#[test]
fn tiers_may_be_joined_and_split_while_they_announce() {
    play(|play| async move {
        let slow = Answers::After(SECOND * 5, AnnounceResponse::default());
        for host in ["a", "b", "c"] {
            play.stage.set(host, slow.clone());
        }
        let uploaded = Rc::new(Cell::new(0));
        play.start_counting(&[&["a"], &["b"]], &uploaded);
        pass(SECOND).await;
        // `b`, whose announce is in flight, waits behind `a` now; `a` goes on.
        play.set_trackers(&[&["a", "b", "c"]]);
        pass(SECOND * 10).await;
        assert_eq!((play.stage.events("a"), play.stage.events("b")), (vec![Started], vec![Started]));
        play.set_trackers(&[&["b"], &["c"], &["a"]]);
        pass(SECOND * 10).await;
        assert_eq!(play.stage.events("a"), [Started], "it goes on in its new place");
        assert_eq!(play.stage.events("b"), [Started, Regular], "it knew us");
        assert_eq!(play.stage.events("c"), [Started]);
        // One that is removed before it has answered hears `stopped` afterwards.
        play.set_trackers(&[&["d"]]);
        pass(SECOND * 20).await;
        play.announcer.stop(id(1));
        pass(SECOND * 20).await;
        for host in ["a", "b", "c", "d"] {
            let events = play.stage.events(host);
            assert_eq!(events.last(), Some(&Stopped), "{host}");
            assert_eq!(events.iter().filter(|event| **event == Stopped).count(), 1, "{host}");
        }
        let state = play.announcer.core.state.borrow();
        assert!(state.due.is_empty() && state.leaving.is_empty() && state.stopping.is_empty());
    });
}

#[test]
fn a_tracker_that_is_removed_before_it_answers_hears_stopped_afterwards() {
    play(|play| async move {
        play.stage.set("a", Answers::After(SECOND * 5, AnnounceResponse::default()));
        let uploaded = Rc::new(Cell::new(7));
        play.start_counting(&[&["a"]], &uploaded);
        pass(SECOND).await;
        uploaded.set(9);
        play.set_trackers(&[]);
        pass(SECOND * 20).await;
        assert_eq!(play.stage.told("a"), [(Started, 0), (Stopped, 2)]);
    });
}
