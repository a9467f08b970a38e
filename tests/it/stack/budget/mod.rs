//! Budgets and prices.

mod meter;
mod periods;
mod restart;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use proptest::prelude::*;
use sync_coalesce::stack::ManualClock;
use sync_coalesce::stack::budget::{
    Budget, BudgetBuildError, BudgetBuilder, BudgetExceeded, Cap, CostModel, InvalidAmount, PriceError, PriceList,
    Spend, Usage,
};
use sync_coalesce::{Role, SyncCoalesce};

use crate::support::thread;
use crate::support::{bounded, crowd, join, until_following};

const HOUR: Duration = Duration::from_secs(3600);

fn tokens(count: u64) -> Spend {
    Spend::from_tokens(count)
}

fn dollars(amount: f64) -> Spend {
    Spend::from_dollars(amount).unwrap()
}

fn of_tokens(cap: u64) -> Budget {
    Budget::builder().tokens(cap).build().unwrap()
}

fn spend(budget: &Budget, amount: Spend) {
    budget.reserve(amount).unwrap().commit(amount);
}

#[test]
fn a_new_budget_has_spent_nothing() {
    let status = Budget::builder().tokens(10).dollars(1.5).build().unwrap().status();
    assert_eq!((status.used, status.reserved, status.total, status.saved), Default::default());
    assert_eq!((status.tokens_left, status.dollars_left, status.period_ends_in), (Some(10), Some(1.5), None));
}

#[test]
fn without_a_cap_it_only_counts() {
    let budget = Budget::builder().build().unwrap();
    for _ in 0..3 {
        spend(&budget, Spend::new(u64::MAX / 3, 1e9).unwrap());
    }
    let status = budget.status();
    assert_eq!((status.used.tokens(), status.used.dollars()), (u64::MAX / 3 * 3, 3e9));
    assert_eq!((status.tokens_left, status.dollars_left), (None, None));
    // Beyond what can be counted it stays there.
    let all = budget.reserve(tokens(0)).unwrap();
    all.commit(tokens(u64::MAX));
    assert_eq!(budget.status().used.tokens(), u64::MAX);
}

#[test]
fn the_cap_can_be_reached_and_not_passed() {
    let budget = Budget::builder().tokens(100).dollars(1.0).build().unwrap();
    spend(&budget, Spend::new(60, 0.9).unwrap());
    let requested = Spend::new(41, 0.1).unwrap();
    let left = Spend::new(40, 0.1).unwrap();
    let refused = |requested| {
        let error: BudgetExceeded = budget.reserve(requested).unwrap_err();
        assert_eq!((error.requested, error.left), (requested, left));
        (error.cap, error.to_string())
    };
    assert_eq!(refused(requested), (Cap::Tokens, "budget exceeded: 41 tokens requested, 40 left".to_owned()));
    let requested = Spend::new(40, 0.100_000_001).unwrap();
    let text = "budget exceeded: $0.100000001 requested, $0.1 left";
    assert_eq!(refused(requested), (Cap::Dollars, text.to_owned()));
    assert_eq!(budget.status().reserved, Spend::default(), "a refusal sets nothing aside");
    spend(&budget, left);
    assert_eq!((budget.status().tokens_left, budget.status().dollars_left), (Some(0), Some(0.0)));
    assert!(budget.reserve(tokens(1)).is_err());
    assert!(budget.reserve(Spend::default()).is_ok());
}

#[test]
fn what_is_reserved_is_not_left_for_others() {
    let budget = of_tokens(100);
    let reservation = budget.reserve(tokens(70)).unwrap();
    assert_eq!((reservation.amount(), budget.status().reserved), (tokens(70), tokens(70)));
    assert!(budget.reserve(tokens(31)).is_err());
    drop(reservation);
    assert_eq!(budget.status().reserved, Spend::default());
    spend(&budget, tokens(100));
}

#[test]
fn a_commit_counts_what_was_spent_and_gives_back_the_rest() {
    let budget = of_tokens(100);
    budget.reserve(tokens(70)).unwrap().commit(tokens(20));
    let status = budget.status();
    assert_eq!((status.used, status.reserved, status.tokens_left), (tokens(20), Spend::default(), Some(80)));
}

#[test]
fn what_was_spent_beyond_the_reservation_is_counted_too() {
    let budget = of_tokens(100);
    budget.reserve(tokens(70)).unwrap().commit(tokens(130));
    let status = budget.status();
    assert_eq!((status.used, status.reserved, status.tokens_left), (tokens(130), Spend::default(), Some(0)));
    assert!(budget.reserve(tokens(1)).is_err());
}

#[test]
fn a_panic_gives_the_reservation_back() {
    let budget = of_tokens(100);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _reservation = budget.reserve(tokens(70)).unwrap();
        panic!("in the call");
    }));
    assert!(panicked.is_err());
    assert_eq!(budget.status().reserved, Spend::default());
}

#[test]
fn an_invalid_amount_is_refused() {
    for amount in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -1e-300, 18_000_000_001.0] {
        let is_refused = |error: InvalidAmount| error.dollars.to_bits() == amount.to_bits();
        assert!(is_refused(Spend::new(1, amount).unwrap_err()), "{amount}");
        assert!(is_refused(Spend::from_dollars(amount).unwrap_err()), "{amount}");
        let error = Budget::builder().dollars(amount).build().unwrap_err();
        assert_eq!(error.to_string(), format!("invalid dollar amount: {amount}"));
        assert!(matches!(error, BudgetBuildError::Dollars(error) if is_refused(error)), "{amount}");
    }
    assert_eq!(Spend::from_dollars(-0.0).unwrap(), Spend::default());
    let error = Budget::builder().period(Duration::ZERO).build().unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error),
        ("budget period must be longer than zero", BudgetBuildError::Period)
    );
}

#[test]
fn small_amounts_add_up_exactly() {
    let budget = Budget::builder().dollars(1.0).build().unwrap();
    let ten_millionth = dollars(1e-7);
    (0..10_000).for_each(|_| spend(&budget, ten_millionth));
    assert_eq!(budget.status().used, dollars(0.001));
    assert_eq!(budget.status().used.nanodollars(), 1_000_000);
}

/// Two hundred threads of ten tokens each, and room for a hundred of them.
#[test]
fn racing_threads_do_not_pass_the_cap() {
    bounded(|| {
        let budget = of_tokens(1000);
        let (served, most) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            join(crowd(scope, 200, |_| {
                if let Ok(reservation) = budget.reserve(tokens(10)) {
                    let status = budget.status();
                    most.fetch_max(status.used.tokens() + status.reserved.tokens(), SeqCst);
                    reservation.commit(tokens(10));
                    served.fetch_add(1, SeqCst);
                }
            }));
        });
        assert_eq!(served.into_inner(), 100);
        assert!(most.into_inner() <= 1000);
        assert_eq!((budget.status().used, budget.status().reserved), (tokens(1000), Spend::default()));
    });
}

#[test]
fn the_leaders_spend_counts_once_and_the_followers_as_saved() {
    bounded(|| {
        let budget = Budget::builder().dollars(1.0).build().unwrap();
        let coalesce: SyncCoalesce<u8, u8> = SyncCoalesce::new();
        let cost = Spend::new(10, 0.5).unwrap();
        thread::scope(|scope| {
            join(crowd(scope, 10, |_| {
                let outcome = coalesce.on(&1).call(|_| {
                    until_following(&coalesce, 9);
                    budget.reserve(cost).unwrap().commit(cost);
                    1
                });
                if let Role::Leader { followers } = outcome.role {
                    budget.count_saved(cost, followers);
                }
            }));
        });
        let status = budget.status();
        assert_eq!((status.total, status.saved), (cost, Spend::new(90, 4.5).unwrap()));
        assert_eq!(status.dollars_left, Some(0.5));
    });
}

fn periods(hands: &ManualClock, build: impl FnOnce(BudgetBuilder) -> BudgetBuilder) -> Budget {
    build(Budget::builder().tokens(100).period(HOUR).clock(hands)).build().unwrap()
}

fn left(budget: &Budget) -> u64 {
    budget.status().tokens_left.unwrap()
}

#[test]
fn a_reset_forgets_all_but_reservations() {
    let hands = ManualClock::new();
    let budget = periods(&hands, |builder| builder.carry_over(tokens(100)));
    hands.advance(HOUR);
    spend(&budget, tokens(130));
    budget.count_saved(tokens(1), 7);
    let reservation = budget.reserve(tokens(10)).unwrap();
    budget.reset();
    let status = budget.status();
    assert_eq!((status.used, status.total, status.saved), Default::default());
    assert_eq!((status.reserved, status.tokens_left), (tokens(10), Some(90)));
    reservation.commit(tokens(10));
    assert_eq!((budget.status().used, left(&budget)), (tokens(10), 90));
}

const LIST: &str = r#"{
    "sample_spec": {
        "input_cost_per_token": 0.0, "output_cost_per_token": 0.0, "max_tokens": "LEGACY", "mode": "one of: chat"
    },
    "chat": {
        "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
        "cache_read_input_token_cost": 3e-07, "cache_creation_input_token_cost": 3.75e-06,
        "litellm_provider": "a", "mode": "chat", "supported_endpoints": ["/v1/chat"], "max_tokens": 8192,
        "search_context_cost_per_query": { "search_context_size_high": 0.05 }, "supports_vision": true
    },
    "plain": { "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "cache_read_input_token_cost": null },
    "embeds": { "input_cost_per_token": 2e-08, "mode": "embedding" },
    "paints": { "output_cost_per_image": 0.04, "mode": "image_generation" },
    "negative": { "input_cost_per_token": -1.0 },
    "text": { "input_cost_per_token": "3e-06" },
    "dear": { "input_cost_per_token": 1e300 },
    "odd": 7
}"#;

fn usage(input: u64, output: u64, cache_read: u64, cache_creation: u64) -> Usage {
    Usage {
        input_tokens: input,
        output_tokens: output,
        cache_read_tokens: cache_read,
        cache_creation_tokens: cache_creation,
    }
}

#[test]
fn calls_are_priced_by_the_list() {
    let list = PriceList::from_litellm(LIST).unwrap();
    for (model, used, expected) in [
        ("chat", usage(1000, 100, 0, 0), 0.003 + 0.0015),
        ("chat", usage(0, 0, 10_000, 1000), 0.003 + 0.003_75),
        ("chat", usage(1, 1, 1, 1), 0.000_022_05),
        // Without prices for the cache they cost what input costs.
        ("plain", usage(1, 0, 10, 100), 0.000_111),
        ("embeds", usage(1000, 0, 0, 0), 0.000_02),
        ("paints", usage(0, 0, 0, 0), 0.0),
    ] {
        let total = used.input_tokens + used.output_tokens + used.cache_read_tokens + used.cache_creation_tokens;
        assert_eq!(list.cost(model, &used).unwrap(), Spend::new(total, expected).unwrap(), "{model} {used:?}");
    }
}

#[test]
fn a_missing_price_is_an_error_that_names_it() {
    let list = PriceList::from_litellm(LIST).unwrap();
    for (model, used, expected) in [
        ("nobody", usage(0, 0, 0, 0), "model `nobody` is not in the price list"),
        ("sample_spec", usage(1, 0, 0, 0), "model `sample_spec` is not in the price list"),
        ("embeds", usage(1, 1, 0, 0), "model `embeds` has no `output_cost_per_token` in the price list"),
        ("paints", usage(1, 0, 0, 0), "model `paints` has no `input_cost_per_token` in the price list"),
        ("odd", usage(1, 0, 0, 0), "model `odd` has no `input_cost_per_token` in the price list"),
        ("negative", usage(1, 0, 0, 0), "invalid `input_cost_per_token` of model `negative` in the price list"),
        ("text", usage(0, 0, 1, 0), "invalid `input_cost_per_token` of model `text` in the price list"),
        ("dear", usage(1, 0, 0, 0), "a call to model `dear` costs more than can be counted"),
        ("chat", usage(u64::MAX, 1, 0, 0), "a call to model `chat` costs more than can be counted"),
    ] {
        assert_eq!(list.cost(model, &used).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_price_list_that_is_not_an_object_is_an_error() {
    for text in ["", "[]", "7", "{\"chat\": "] {
        let error = PriceList::from_litellm(text).unwrap_err();
        assert!(matches!(error, PriceError::NotAList(_)), "{text:?}");
        let text = error.to_string();
        assert!(text.starts_with("the price list is not a JSON object: ") && text.contains(" at line 1 "), "{text}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Reserve(u64),
    /// Of the reservations there are, one of them, and what it did cost in tenths of what it reserved.
    Commit(usize, u64),
    Drop(usize),
    Advance(u64),
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..60).prop_map(Step::Reserve),
        3 => (any::<usize>(), 0_u64..=10).prop_map(|(which, tenths)| Step::Commit(which, tenths)),
        2 => any::<usize>().prop_map(Step::Drop),
        2 => (0_u64..5000).prop_map(Step::Advance),
        1 => Just(Step::Reset),
    ]
}

proptest! {
    /// As long as nothing costs more than was reserved for it, the cap and what may be carried are never passed, and
    /// what is reserved is what the reservations say.
    #[test]
    fn whatever_is_done_the_books_are_right(carry in 0_u64..150, steps in prop::collection::vec(step(), 1..80)) {
        let hands = ManualClock::new();
        let budget = periods(&hands, |builder| builder.carry_over(tokens(carry)));
        let mut held = Vec::new();
        let mut total = 0;
        for step in steps {
            let before = budget.status();
            match step {
                Step::Reserve(amount) => match budget.reserve(tokens(amount)) {
                    Ok(reservation) => {
                        prop_assert!(amount <= before.tokens_left.unwrap());
                        held.push(reservation);
                    }
                    Err(_) => prop_assert!(amount > before.tokens_left.unwrap()),
                },
                Step::Commit(which, tenths) if !held.is_empty() => {
                    let reservation = held.swap_remove(which % held.len());
                    let actual = reservation.amount().tokens() * tenths / 10;
                    total += actual;
                    reservation.commit(tokens(actual));
                }
                Step::Drop(which) if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                Step::Commit(..) | Step::Drop(_) => {}
                Step::Advance(seconds) => hands.advance(Duration::from_secs(seconds)),
                Step::Reset => {
                    budget.reset();
                    total = 0;
                }
            }
            let status = budget.status();
            let reserved: u64 = held.iter().map(|reservation| reservation.amount().tokens()).sum();
            prop_assert_eq!((status.reserved.tokens(), status.total.tokens()), (reserved, total));
            prop_assert!(status.used.tokens() + reserved + status.tokens_left.unwrap() <= 100 + carry);
        }
    }
}
