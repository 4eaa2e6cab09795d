//! Long random histories of a larger table, in the surroundings of `tests/ledger_model.rs`: more keys,
//! more chunks, more writes, several crashes. What no exploration can exhaust is sampled here.

mod model;

use std::cell::RefCell;

use model::bookkeeper::{Bookkeeper, Key};
use model::broken;
use model::world::{Action, Bounds, World};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRng, TestRunner};
use replank::ledger::Ledger;

const BOUNDS: Bounds = Bounds {
    keys: 8,
    present: &[1, 2, 4, 7],
    edges: &[2, 5],
    writes: 60,
    moves: true,
    row_locks: true,
    batch: 2,
    workers: 2,
    views: 2,
    beats: 20,
    failures: 6,
    touches: 4,
    reconnects: 3,
    retreats: 2,
    crashes: 3,
    run: 6,
    condenses: 20,
    ..Bounds::QUIET
};

/// Steps after which a history without further trouble has to have ended.
const PATIENCE: usize = 5_000;

/// One decision: a mood, which means trouble where it is below the history's unrest, and which of the
/// possible steps is taken.
type Choice = (u8, u16);

/// Lives through a history: a step for each choice, then without trouble to the end.
fn live<B: Bookkeeper>(unrest: u8, choices: &[Choice]) -> Result<World<B>, TestCaseError> {
    let mut world = World::<B>::new(&BOUNDS);
    let mut taken = Vec::new();
    for &(mood, choice) in choices {
        let trouble = world.trouble(&BOUNDS);
        let steps = match mood < unrest && !trouble.is_empty() {
            true => one_kind(trouble, choice),
            false => world.progress(&BOUNDS),
        };
        let Some(action) = steps.get(usize::from(choice) % steps.len().max(1)) else { continue };
        if let Some(next) = world.step(&BOUNDS, action) {
            taken.push(action.clone());
            world = next;
            prop_assert!(world.is_honest(), "V is ahead of what is visible after {taken:?}");
            prop_assert!(world.is_remembered(), "a stale row is forgotten after {taken:?}");
        }
    }
    for _ in 0..PATIENCE {
        let step = world
            .progress(&BOUNDS)
            .into_iter()
            .find_map(|action| Some((world.step(&BOUNDS, &action)?, action)));
        let Some((next, action)) = step else { break };
        taken.push(action);
        world = next;
    }
    prop_assert!(world.is_over(), "the history does not end: {taken:?}\n{world:?}");
    prop_assert!(world.fault.is_none(), "{:?} after {taken:?}", world.fault);
    Ok(world)
}

/// Writes, or for one choice in sixteen everything else: so that most of a history is writing, and
/// its crashes do not all come at the beginning.
fn one_kind(mut steps: Vec<Action>, choice: u16) -> Vec<Action> {
    let is_write = |action: &Action| matches!(action, Action::Write(_));
    let both = steps.iter().any(is_write) && !steps.iter().all(is_write);
    if both {
        let writes = !choice.is_multiple_of(16);
        steps.retain(|action| is_write(action) == writes);
    }
    steps
}

fn histories() -> impl Strategy<Value = (u8, Vec<Choice>)> {
    (0..160_u8, prop::collection::vec(any::<Choice>(), 0..1_500))
}

fn runner(cases: u32) -> TestRunner {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
}

const CASES: u32 = if cfg!(debug_assertions) { 300 } else { 20_000 };

proptest! {
    #![proptest_config(Config { cases: CASES, failure_persistence: None, ..Config::default() })]

    #[test]
    fn every_history_ends_with_equal_tables((unrest, choices) in histories()) {
        live::<Ledger<Key>>(unrest, &choices)?;
    }
}

#[test]
fn histories_meet_crashes_hot_rows_and_many_writes() {
    let worlds = RefCell::new(Vec::new());
    let outcome = runner(100).run(&histories(), |(unrest, choices)| {
        worlds.borrow_mut().push(live::<Ledger<Key>>(unrest, &choices)?);
        Ok(())
    });
    outcome.unwrap();
    let worlds = worlds.into_inner();
    let count =
        |wanted: fn(&World<Ledger<Key>>) -> bool| worlds.iter().filter(|w| wanted(w)).count();
    let (crashed, hot) = (count(|w| w.spent.crashes > 1), count(|w| w.replays.contains(&2)));
    let written = count(|w| w.spent.writes == BOUNDS.writes);
    println!(
        "of 100 histories: {crashed} crash twice, {hot} replay a row twice, {written} write {} times",
        BOUNDS.writes
    );
    assert!(crashed > 25 && hot > 25 && written > 10);
}

/// Whether one of many histories is the undoing of this ledger.
fn is_found_out<B: Bookkeeper>() -> bool {
    let lives = |(unrest, choices): (u8, Vec<Choice>)| live::<B>(unrest, &choices).map(drop);
    runner(2_000).run(&histories(), lives).is_err()
}

#[test]
fn histories_find_every_broken_ledger() {
    assert!(is_found_out::<broken::ForgetsAhead>(), "ForgetsAhead");
    assert!(is_found_out::<broken::ReplaysUnseen>(), "ReplaysUnseen");
    assert!(is_found_out::<broken::OpensRanges>(), "OpensRanges");
    assert!(is_found_out::<broken::TrustsTheStream>(), "TrustsTheStream");
    assert!(is_found_out::<broken::SettlesUnread>(), "SettlesUnread");
    assert!(is_found_out::<broken::DrainedTooEarly>(), "DrainedTooEarly");
    assert!(is_found_out::<broken::HandsOutTwice>(), "HandsOutTwice");
    assert!(is_found_out::<broken::StartsOver>(), "StartsOver");
    assert!(is_found_out::<broken::SafeWhenReceived>(), "SafeWhenReceived");
    assert!(is_found_out::<broken::SafeTooNew>(), "SafeTooNew");
    assert!(is_found_out::<broken::ListsOnce>(), "ListsOnce");
}
