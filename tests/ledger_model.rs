//! Every history of a small table, explored by a model checker.
//!
//! Two or three keys, a few writes, and every order in which commits become visible, the stream
//! delivers, chunks and replays read and commit, the client dies and goes on. The ledger is the real one.
//! Each exploration is complete within its bounds, and says how many states it saw.

mod model;

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::time::Instant;

use model::bookkeeper::{Bookkeeper, Key};
use model::broken;
use model::server::Fault;
use model::world::{Action, Bounds, World};
use replank::ledger::Ledger;
use stateright::{Checker, HasDiscoveries, Model, Property};

/// The world within bounds, as the checker explores it.
#[derive(Debug, Clone)]
struct Explored<B> {
    bounds: Bounds,
    ledger: PhantomData<B>,
}

impl<B: Bookkeeper> Explored<B> {
    fn new(bounds: Bounds) -> Self {
        Explored { bounds, ledger: PhantomData }
    }
}

const LOST: &str = "the tables are equal when they are swapped";
const DUPLICATE: &str = "a chunk meets an empty range";
const OPEN_RANGE: &str = "a key is replayed into copied ranges only";
const OVERLAP: &str = "a key is replayed once at a time";
const UNSEEN: &str = "what is taken for visible is visible";
const REMEMBERED: &str = "a stale row is remembered, also after a crash";
const SWAPPED: &str = "every history ends with the swap";
const HOT: &str = "a hot key is replayed twice";
const RESUMED: &str = "a run after a crash swaps the tables";

impl<B: Bookkeeper> Model for Explored<B> {
    type State = World<B>;
    type Action = Action;

    fn init_states(&self) -> Vec<World<B>> {
        vec![World::new(&self.bounds)]
    }

    fn actions(&self, world: &World<B>, actions: &mut Vec<Action>) {
        actions.extend(world.progress(&self.bounds));
        actions.extend(world.trouble(&self.bounds));
    }

    fn next_state(&self, world: &World<B>, action: Action) -> Option<World<B>> {
        world.step(&self.bounds, &action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(LOST, |_, world| spared(world, Fault::Lost)),
            Property::always(DUPLICATE, |_, world| spared(world, Fault::Duplicate)),
            Property::always(OPEN_RANGE, |_, world| spared(world, Fault::OpenRange)),
            Property::always(OVERLAP, |_, world| spared(world, Fault::Overlap)),
            Property::always(UNSEEN, |_, world| World::is_honest(world)),
            Property::always(REMEMBERED, |_, world| World::is_remembered(world)),
            // The graph of states has no cycle, so a history ends, and it must not end elsewhere.
            Property::eventually(SWAPPED, |_, world| World::is_over(world)),
        ];
        if self.bounds.writes > 1 {
            properties.push(Property::sometimes(HOT, |_, world: &World<B>| {
                world.swapped && world.replays.contains(&2)
            }));
        }
        if self.bounds.crashes > 0 {
            properties.push(Property::sometimes(RESUMED, |_, world: &World<B>| {
                world.swapped && world.fault.is_none() && world.spent.crashes > 0
            }));
        }
        properties
    }
}

fn spared<B>(world: &World<B>, fault: Fault) -> bool {
    world.fault != Some(fault)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Explores everything, and asserts that it was no less than `floor` states.
fn explore(name: &str, bounds: Bounds, floor: usize) {
    let began = Instant::now();
    let checker =
        Explored::<Ledger<Key>>::new(bounds).checker().threads(threads()).spawn_dfs().join();
    let (states, seconds) = (checker.unique_state_count(), began.elapsed().as_secs_f64());
    println!("{name}: {states} states, {} steps deep at most, {seconds:.1} s", checker.max_depth());
    checker.assert_properties();
    assert!(states >= floor, "{name}: {states} states are too few, {floor} were expected");
}

/// Asserts that the checker finds a history in which this ledger violates the property.
fn refute<B: Bookkeeper>(bounds: Bounds, property: &'static str) {
    let checker = Explored::<B>::new(bounds)
        .checker()
        .threads(threads())
        .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([property])))
        .spawn_bfs()
        .join();
    let path = checker.assert_any_discovery(property).into_actions();
    println!("{property}: refuted in {} steps by {path:?}", path.len());
}

/// Whether there is time for the larger bounds.
const THOROUGH: bool = !cfg!(debug_assertions);

#[test]
fn a_row_that_is_written_again_and_again_during_copy_and_replay() {
    let writes = if THOROUGH { 3 } else { 2 };
    explore("hot row", Bounds { writes, ..Bounds::QUIET }, 40_000);
    explore("heartbeats", Bounds { beats: 1, ..Bounds::QUIET }, 40_000);
}

#[test]
fn rows_that_move_between_chunks_in_a_transaction_that_arrives_in_parts() {
    let bounds = Bounds {
        keys: 3,
        present: &[1, 3],
        edges: &[2],
        writes: if THOROUGH { 2 } else { 1 },
        moves: true,
        batch: 2,
        views: 2,
        reconnects: 1,
        ..Bounds::QUIET
    };
    explore("moves", bounds, 2_000);
}

#[test]
fn two_chunks_and_two_batches_at_a_time() {
    let bounds = Bounds { workers: 2, views: 2, moves: true, ..Bounds::QUIET };
    explore("workers", Bounds { reconnects: u8::from(THOROUGH), ..bounds }, 200_000);
}

#[test]
fn rollbacks_and_a_cut_over_that_gives_up() {
    explore("failures", Bounds { failures: 1, retreats: 1, ..Bounds::QUIET }, 200_000);
}

#[test]
fn a_comparison_that_asks_for_keys_again() {
    explore("touches", Bounds { touches: 1 + u8::from(THOROUGH), ..Bounds::QUIET }, 200_000);
}

#[test]
fn crashes_and_runs_that_go_on() {
    explore("two crashes", Bounds { writes: 1, crashes: 2, ..Bounds::QUIET }, 100_000);
}

#[test]
fn a_crash_among_writes() {
    let writes = if THOROUGH { 2 } else { 1 };
    explore("crash", Bounds { writes, moves: true, crashes: 1, ..Bounds::QUIET }, 40_000);
}

#[test]
fn a_crash_after_rollbacks() {
    let bounds = Bounds { writes: 1, moves: true, crashes: 1, failures: 1, ..Bounds::QUIET };
    explore("crash and failures", bounds, 100_000);
}

/// Three keys in one chunk and one in another, so that stretches have something between their ends, and end
/// at a chunk.
const CONDENSED: Bounds = Bounds {
    keys: 4,
    present: &[1, 2, 3],
    edges: &[3],
    writes: 2,
    condenses: 1,
    run: 3,
    ..Bounds::QUIET
};

#[test]
fn changed_keys_that_are_condensed() {
    explore("condensed", Bounds { batch: 2, ..CONDENSED }, 500_000);
    explore(
        "condensed twice, and moved",
        Bounds { writes: 1, moves: true, condenses: 2, ..CONDENSED },
        20_000,
    );
}

#[test]
fn a_crash_while_keys_are_condensed() {
    explore(
        "crash, condensed",
        Bounds { writes: 1, moves: true, crashes: 1, ..CONDENSED },
        250_000,
    );
}

// ---- the checker finds what is wrong -----------------------------------------------------------

#[test]
fn it_finds_that_changes_ahead_of_the_copy_are_forgotten_before_they_are_visible() {
    refute::<broken::ForgetsAhead>(Bounds::QUIET, REMEMBERED);
    refute::<broken::ForgetsAhead>(Bounds::QUIET, LOST);
}

#[test]
fn it_finds_that_a_key_is_replayed_before_its_change_is_visible() {
    refute::<broken::ReplaysUnseen>(Bounds::QUIET, LOST);
}

#[test]
fn it_finds_that_a_key_is_replayed_into_a_range_that_is_being_copied() {
    refute::<broken::OpensRanges>(Bounds::QUIET, OPEN_RANGE);
}

#[test]
fn it_finds_that_a_heartbeat_counts_before_it_is_acknowledged() {
    refute::<broken::TrustsTheStream>(Bounds::QUIET, UNSEEN);
    refute::<broken::TrustsTheStream>(Bounds::QUIET, LOST);
}

#[test]
fn it_finds_that_a_change_during_its_replay_is_forgotten() {
    refute::<broken::SettlesUnread>(Bounds::QUIET, REMEMBERED);
    refute::<broken::SettlesUnread>(Bounds::QUIET, LOST);
}

#[test]
fn it_finds_that_the_tables_are_swapped_with_changes_waiting() {
    refute::<broken::DrainedTooEarly>(Bounds::QUIET, LOST);
}

#[test]
fn it_finds_that_a_key_is_in_two_batches() {
    refute::<broken::HandsOutTwice>(Bounds { workers: 2, ..Bounds::QUIET }, OVERLAP);
}

/// One write, one crash.
const CRASH: Bounds = Bounds { writes: 1, crashes: 1, ..Bounds::QUIET };

#[test]
fn it_finds_that_a_position_is_not_safe_because_it_was_received() {
    refute::<broken::SafeWhenReceived>(CRASH, REMEMBERED);
    refute::<broken::SafeWhenReceived>(CRASH, LOST);
}

#[test]
fn it_finds_that_a_position_is_too_new_by_one() {
    refute::<broken::SafeTooNew>(CRASH, REMEMBERED);
    refute::<broken::SafeTooNew>(CRASH, LOST);
}

#[test]
fn it_finds_that_a_resumed_run_copies_what_is_copied() {
    refute::<broken::StartsOver>(CRASH, DUPLICATE);
}

#[test]
fn it_finds_that_a_resumed_run_uses_chunk_numbers_again() {
    refute::<Ledger<Key>>(Bounds { reuse_chunk_numbers: true, ..CRASH }, LOST);
}

#[test]
fn it_finds_that_a_resumed_run_uses_heartbeat_numbers_again() {
    refute::<Ledger<Key>>(Bounds { reuse_heartbeats: true, ..CRASH }, LOST);
}

#[test]
fn it_finds_that_a_stretch_is_listed_in_part() {
    refute::<broken::ListsOnce>(Bounds { moves: true, ..CONDENSED }, REMEMBERED);
    refute::<broken::ListsOnce>(Bounds { moves: true, ..CONDENSED }, LOST);
}

#[test]
fn it_finds_that_a_deleted_row_is_in_one_table_only() {
    refute::<Ledger<Key>>(Bounds { list_source_alone: true, ..CONDENSED }, REMEMBERED);
    refute::<Ledger<Key>>(Bounds { list_source_alone: true, ..CONDENSED }, LOST);
}

#[test]
fn it_finds_that_a_position_is_not_safe_because_of_a_stretch() {
    let bounds = Bounds { crashes: 1, moves: true, writes: 1, ..CONDENSED };
    refute::<broken::SafeBesideStretches>(bounds, REMEMBERED);
}
