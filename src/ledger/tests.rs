use super::*;

fn beat(ledger: &mut Ledger<u32>, id: u64, seq: Seq) {
    ledger.heartbeat_seen(id, seq);
    ledger.heartbeat_acked(id);
}

fn copied() -> Ledger<u32> {
    let mut ledger = Ledger::new();
    let id = ledger.start_chunk(Range { lo: Edge::Start, hi: Edge::End }).unwrap();
    ledger.finish_chunk(id);
    ledger
}

#[test]
fn a_change_waits_for_its_chunk_and_for_visibility() {
    let mut ledger = Ledger::new();
    let id = ledger.start_chunk(Range { lo: Edge::Start, hi: Edge::At(10) }).unwrap();
    ledger.change(5, 1);
    beat(&mut ledger, 1, 2);
    assert_eq!(ledger.next_batch(9), None, "its range is still being copied");
    ledger.finish_chunk(id);
    assert_eq!(ledger.next_batch(9).unwrap().keys, [5]);
    ledger.change(6, 3);
    assert_eq!(ledger.next_batch(9), None, "not visible yet");
}

#[test]
fn a_heartbeat_counts_only_when_both_seen_and_acknowledged() {
    let mut ledger = copied();
    ledger.change(1, 1);
    ledger.heartbeat_seen(1, 2);
    assert_eq!(ledger.visible(), 0, "the server sends the binlog before it commits");
    ledger.heartbeat_acked(1);
    assert_eq!(ledger.visible(), 2);
    ledger.heartbeat_acked(2);
    assert_eq!(ledger.visible(), 2, "not received back yet");
}

#[test]
fn what_is_visible_ahead_of_the_copy_takes_no_memory() {
    let mut ledger = Ledger::new();
    ledger.change(1, 1);
    ledger.change(2, 2);
    beat(&mut ledger, 1, 2);
    assert!(ledger.ahead.is_empty());
}

#[test]
fn a_key_that_was_touched_ahead_of_the_copy_is_left_to_its_chunk() {
    let mut ledger = Ledger::new();
    beat(&mut ledger, 1, 5);
    ledger.touch(3);
    let id = ledger.start_chunk(Range { lo: Edge::Start, hi: Edge::End }).unwrap();
    ledger.finish_chunk(id);
    assert_eq!(ledger.backlog(), 0, "its last change is visible to the chunk");
}

#[test]
fn a_change_counts_from_where_its_chunk_cannot_see_it() {
    let mut ledger = Ledger::new();
    ledger.change(1, 1);
    ledger.change(1, 5);
    beat(&mut ledger, 1, 2);
    let id = ledger.start_chunk(Range { lo: Edge::Start, hi: Edge::End }).unwrap();
    ledger.finish_chunk(id);
    assert_eq!(ledger.safe_position(), 2, "the change at 1 is in the chunk, the one at 5 is not");
}

#[test]
fn a_heartbeat_is_wanted_while_something_waits_that_is_not_visible() {
    let mut ledger = copied();
    assert!(!ledger.wants_heartbeat(), "nothing waits");
    ledger.transaction_end(1);
    assert!(!ledger.wants_heartbeat(), "nothing of it is ours");
    ledger.change(1, 2);
    assert!(ledger.wants_heartbeat());
    beat(&mut ledger, 1, 2);
    assert!(!ledger.wants_heartbeat(), "it is visible, and only has to be replayed");
}

#[test]
fn a_heartbeat_number_that_comes_again_moves_nothing() {
    let mut ledger = copied();
    beat(&mut ledger, 7, 1);
    ledger.change(1, 2);
    ledger.heartbeat_seen(5, 3);
    ledger.heartbeat_seen(7, 4);
    assert_eq!(ledger.visible(), 1, "they were sent by a process that has lost the run");
    assert_eq!(ledger.next_batch(9), None);
}

#[test]
fn a_visible_change_ahead_of_the_copy_is_forgotten_and_an_invisible_one_is_kept() {
    let mut ledger = Ledger::new();
    ledger.change(1, 1);
    beat(&mut ledger, 1, 2);
    ledger.change(2, 3);
    let id = ledger.start_chunk(Range { lo: Edge::Start, hi: Edge::End }).unwrap();
    ledger.finish_chunk(id);
    beat(&mut ledger, 2, 4);
    assert_eq!(ledger.next_batch(9).unwrap().keys, [2]);
}

#[test]
fn a_change_during_its_replay_is_replayed_again() {
    let mut ledger = copied();
    ledger.change(1, 1);
    beat(&mut ledger, 1, 2);
    let batch = ledger.next_batch(9).unwrap();
    ledger.change(1, 3);
    ledger.batch_done(batch.id);
    assert!(ledger.is_due(&1));
    assert_eq!(ledger.safe_position(), 2);
    beat(&mut ledger, 2, 4);
    let batch = ledger.next_batch(9).unwrap();
    ledger.batch_done(batch.id);
    assert!(ledger.is_drained(4));
    assert_eq!(ledger.safe_position(), 4);
}

#[test]
fn a_change_ahead_of_the_copy_is_safe_to_pass_only_once_it_is_visible() {
    let mut ledger = Ledger::new();
    beat(&mut ledger, 1, 1);
    ledger.change(5, 2);
    ledger.transaction_end(2);
    assert_eq!(ledger.safe_position(), 1, "the chunk to come may not see it");
    beat(&mut ledger, 2, 3);
    assert_eq!(ledger.safe_position(), 3);
}

#[test]
fn a_failed_batch_is_handed_out_again() {
    let mut ledger = copied();
    ledger.change(1, 1);
    beat(&mut ledger, 1, 2);
    let batch = ledger.next_batch(9).unwrap();
    assert_eq!(ledger.next_batch(9), None, "a key is in one batch at a time");
    ledger.batch_failed(batch.id);
    assert_eq!(ledger.next_batch(9).unwrap().keys, [1]);
}

#[test]
fn low_keys_cannot_starve_high_ones() {
    let mut ledger = copied();
    for key in 0..4 {
        ledger.change(key, 1);
    }
    beat(&mut ledger, 1, 2);
    let first = ledger.next_batch(2).unwrap();
    ledger.batch_done(first.id);
    ledger.change(0, 3);
    beat(&mut ledger, 2, 4);
    assert_eq!(ledger.next_batch(2).unwrap().keys, [2, 3]);
}

#[test]
fn a_touched_key_is_replayed_after_what_was_received_is_visible() {
    let mut ledger = copied();
    ledger.transaction_end(7);
    ledger.touch(3);
    beat(&mut ledger, 1, 6);
    assert_eq!(ledger.next_batch(9), None);
    beat(&mut ledger, 2, 8);
    assert_eq!(ledger.next_batch(9).unwrap().keys, [3]);
}

#[test]
fn an_aborted_chunk_can_start_again_and_loses_nothing() {
    let mut ledger = Ledger::new();
    let all = Range { lo: Edge::Start, hi: Edge::End };
    let id = ledger.start_chunk(all.clone()).unwrap();
    ledger.change(4, 1);
    ledger.abort_chunk(id);
    ledger.change(4, 2);
    let id = ledger.start_chunk(all).unwrap();
    ledger.finish_chunk(id);
    beat(&mut ledger, 1, 3);
    assert_eq!(ledger.next_batch(9).unwrap().keys, [4]);
}

/// Ten keys, changed in one transaction that is visible.
fn ten_condensed() -> Ledger<u32> {
    let mut ledger = copied();
    for key in 1..=10 {
        ledger.change(key, 1);
    }
    ledger.condense(5);
    ledger
}

#[test]
fn condensed_keys_are_few_and_come_back_when_they_are_visible() {
    let mut ledger = ten_condensed();
    assert_eq!((ledger.held(), ledger.backlog()), ((2, 0), 10));
    assert!(ledger.is_due(&4) && ledger.is_condensed());
    assert_eq!(ledger.next_stretch(), None, "nothing of it is visible");
    assert_eq!(ledger.safe_position(), 0);
    beat(&mut ledger, 1, 2);
    let batch = ledger.next_batch(9).unwrap();
    assert_eq!(batch.keys, [1, 6], "the first of each five");
    ledger.batch_done(batch.id);
    assert!(!ledger.is_drained(2));
    let range = ledger.next_stretch().unwrap();
    assert_eq!(range, Range { lo: Edge::At(1), hi: Edge::At(5) });
    // Three keys at most were asked for; 4 was deleted, and is left in the shadow table.
    ledger.stretch_listed([vec![2, 3, 5], vec![2, 3, 4]], 3);
    assert_eq!(ledger.next_batch(9).unwrap().keys, [2, 3, 4]);
    assert_eq!(ledger.next_stretch(), Some(Range { lo: Edge::At(4), hi: Edge::At(5) }));
    ledger.stretch_listed([vec![5], vec![5]], 3);
    assert_eq!(ledger.next_batch(9).unwrap().keys, [5]);
    assert_eq!(ledger.next_stretch(), Some(Range { lo: Edge::At(6), hi: Edge::At(10) }));
}

#[test]
fn what_is_condensed_again_goes_over_no_earlier_stretch() {
    let mut ledger = ten_condensed();
    for key in 11..=20 {
        ledger.change(key, 1);
    }
    ledger.condense(5);
    beat(&mut ledger, 1, 2);
    let mut listed = Vec::new();
    while let Some(range) = ledger.next_stretch() {
        let keys: Vec<u32> = (1..=20).filter(|key| range.contains(key)).collect();
        listed.extend(keys.clone());
        ledger.stretch_listed([keys, Vec::new()], 100);
    }
    let distinct: std::collections::BTreeSet<u32> = listed.iter().copied().collect();
    assert_eq!(distinct.len(), listed.len(), "a key is listed twice: {listed:?}");
    assert_eq!(ledger.next_batch(100).unwrap().keys.len(), 20);
}

#[test]
fn no_chunk_starts_over_forgotten_changes_before_they_are_visible() {
    let mut ledger = Ledger::new();
    ledger.change(1, 1);
    ledger.forget_ahead();
    assert_eq!((ledger.held(), ledger.may_start()), ((0, 0), false));
    let all = Range { lo: Edge::Start, hi: Edge::End };
    assert_eq!(ledger.start_chunk(all.clone()), None);
    assert!(ledger.wants_heartbeat());
    beat(&mut ledger, 1, 2);
    let id = ledger.start_chunk(all).unwrap();
    ledger.finish_chunk(id);
    assert!(ledger.is_drained(2));
}

#[test]
fn of_a_stretch_only_what_has_changed_is_due() {
    let mut ledger = copied();
    for key in [10, 20, 30] {
        ledger.change(key, 1);
    }
    ledger.condense(9);
    beat(&mut ledger, 1, 2);
    assert_eq!(ledger.next_stretch(), Some(Range { lo: Edge::At(10), hi: Edge::At(30) }));
    ledger.stretch_deferred();
    assert_eq!(ledger.backlog(), 3, "it is listed later");
    assert!(ledger.next_stretch().is_some());
    ledger.stretch_listed([(11..=30).collect(), (11..=25).collect()], 100);
    assert_eq!(ledger.next_batch(9).unwrap().keys, [10, 20, 30]);
}

#[test]
fn what_changes_within_a_stretch_is_absorbed_by_it() {
    let mut ledger = ten_condensed();
    ledger.change(3, 2);
    ledger.change(4, 2);
    assert_eq!(ledger.held(), (4, 0));
    ledger.condense(5);
    assert_eq!(ledger.held(), (2, 0));
    beat(&mut ledger, 1, 1);
    let other = ledger.next_stretch().unwrap();
    assert_eq!(other.lo, Edge::At(6), "the last change of the lower one is not visible");
    // What is being listed absorbs nothing: its reading may be too old.
    ledger.change(8, 3);
    ledger.condense(5);
    assert_eq!(ledger.held(), (3, 0));
    ledger.stretch_listed([vec![7, 8, 9, 10], vec![]], 100);
    beat(&mut ledger, 2, 3);
    assert_eq!(ledger.next_stretch().unwrap().lo, Edge::At(1));
    ledger.stretch_listed([vec![2, 3, 4, 5], vec![2]], 100);
    let batch = ledger.next_batch(99).unwrap();
    assert_eq!(batch.keys, (1..=10).collect::<Vec<u32>>());
    ledger.batch_done(batch.id);
    assert!(ledger.is_drained(3));
}
