use super::{Condition, Rule, Truth};
use crate::policy::Reason;
use crate::push::Push;

/// Holds where every rule does. The first that fails gives the reason, even where one before it is unknown;
/// without one that fails, the first that is unknown gives the gap.
pub fn all(rules: impl IntoIterator<Item = Rule>) -> Rule {
    Rule::new(All(rules.into_iter().collect()))
}

/// Holds where one of the rules does, even where another is unknown. If none does, the first that is unknown gives
/// the gap, or else the first the reason.
pub fn any(rules: impl IntoIterator<Item = Rule>) -> Rule {
    Rule::new(Any(rules.into_iter().collect()))
}

/// Holds where the rule fails, and fails where it holds, for the reason [why](Condition::why) it does. What is
/// unknown stays so.
pub fn not(rule: Rule) -> Rule {
    Rule::new(Not(rule))
}

struct All(Box<[Rule]>);

impl Condition for All {
    fn holds(&self, push: &Push) -> Truth {
        let mut whole = Truth::True;
        for rule in &self.0 {
            match rule.holds(push) {
                Truth::True => {}
                Truth::False(reason) => return Truth::False(reason),
                unknown if whole == Truth::True => whole = unknown,
                Truth::Unknown(_) => {}
            }
        }
        whole
    }

    fn why(&self, push: &Push) -> Reason {
        self.0.first().map_or_else(no_rules, |rule| rule.why(push))
    }
}

struct Any(Box<[Rule]>);

impl Condition for Any {
    fn holds(&self, push: &Push) -> Truth {
        let mut whole = None;
        for rule in &self.0 {
            match (rule.holds(push), &whole) {
                (Truth::True, _) => return Truth::True,
                (unknown @ Truth::Unknown(_), None | Some(Truth::False(_))) => whole = Some(unknown),
                (failed @ Truth::False(_), None) => whole = Some(failed),
                _ => {}
            }
        }
        whole.unwrap_or_else(|| Truth::False(no_rules()))
    }

    fn why(&self, push: &Push) -> Reason {
        let holding = self.0.iter().find(|rule| rule.holds(push) == Truth::True);
        holding.map_or_else(no_rules, |rule| rule.why(push))
    }
}

struct Not(Rule);

impl Condition for Not {
    fn holds(&self, push: &Push) -> Truth {
        match self.0.holds(push) {
            Truth::True => Truth::False(self.0.why(push)),
            Truth::False(_) => Truth::True,
            unknown @ Truth::Unknown(_) => unknown,
        }
    }

    fn why(&self, push: &Push) -> Reason {
        match self.0.holds(push) {
            Truth::False(reason) => reason,
            // Asked where it does not hold.
            Truth::True | Truth::Unknown(_) => self.0.why(push),
        }
    }
}

fn no_rules() -> Reason {
    Reason::new("rules", "there are no rules: all of them hold, and not any")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any as arbitrary, prop, prop_assert_eq, prop_oneof, proptest};

    use super::*;
    use crate::push::Gap;
    use crate::testing::push;

    /// A condition of known truth, that says who it is.
    #[derive(Clone, Debug)]
    struct Known(Truth, u8);

    impl Condition for Known {
        fn holds(&self, _push: &Push) -> Truth {
            self.0.clone()
        }

        fn why(&self, _push: &Push) -> Reason {
            Reason::new("known", format!("{} holds", self.1))
        }
    }

    #[derive(Clone, Debug)]
    enum Formula {
        Known(Known),
        All(Vec<Formula>),
        Any(Vec<Formula>),
        Not(Box<Formula>),
    }

    impl Formula {
        fn rule(&self) -> Rule {
            match self {
                Self::Known(known) => Rule::new(known.clone()),
                Self::All(parts) => all(parts.iter().map(Self::rule)),
                Self::Any(parts) => any(parts.iter().map(Self::rule)),
                Self::Not(part) => not(part.rule()),
            }
        }

        /// Kleene's tables: false 0, unknown 1, true 2; `all` is the least, `any` the greatest, `not` mirrors.
        fn degree(&self) -> u8 {
            match self {
                Self::Known(Known(truth, _)) => degree(truth),
                Self::All(parts) => parts.iter().map(Self::degree).min().unwrap_or(2),
                Self::Any(parts) => parts.iter().map(Self::degree).max().unwrap_or(0),
                Self::Not(part) => 2 - part.degree(),
            }
        }
    }

    fn degree(truth: &Truth) -> u8 {
        match truth {
            Truth::False(_) => 0,
            Truth::Unknown(_) => 1,
            Truth::True => 2,
        }
    }

    fn known() -> impl Strategy<Value = Formula> {
        (0..5_u8, arbitrary::<u8>()).prop_map(|(kind, id)| {
            let truth = match kind {
                0 | 1 => Truth::True,
                2 | 3 => Truth::False(Reason::new("known", format!("{id} fails"))),
                _ => Truth::Unknown([Gap::Caps, Gap::Forced, Gap::NewBranch][usize::from(id % 3)]),
            };
            Formula::Known(Known(truth, id))
        })
    }

    fn formula() -> impl Strategy<Value = Formula> {
        known().prop_recursive(4, 24, 4, |part| {
            let parts = prop::collection::vec(part.clone(), 0..4);
            prop_oneof![
                parts.clone().prop_map(Formula::All),
                parts.prop_map(Formula::Any),
                part.prop_map(|part| Formula::Not(Box::new(part))),
            ]
        })
    }

    fn negated(parts: &[Formula]) -> Vec<Rule> {
        parts.iter().map(|part| not(part.rule())).collect()
    }

    proptest! {
        #[test]
        fn the_tables_are_kleenes(formula in formula()) {
            let push = push("refs/heads/main", &[]);
            prop_assert_eq!(degree(&formula.rule().holds(&push)), formula.degree());
        }

        #[test]
        fn two_negations_are_none_with_reason_and_gap(formula in formula()) {
            let push = push("refs/heads/main", &[]);
            let (plain, twice) = (formula.rule(), not(not(formula.rule())));
            prop_assert_eq!(twice.holds(&push), plain.holds(&push));
            if plain.holds(&push) == Truth::True {
                prop_assert_eq!(twice.why(&push), plain.why(&push));
            }
        }

        #[test]
        fn de_morgans_laws_hold_with_reason_and_gap(parts in prop::collection::vec(formula(), 0..5)) {
            let push = push("refs/heads/main", &[]);
            let rules = || parts.iter().map(Formula::rule);
            for (one, other) in
                [(not(all(rules())), any(negated(&parts))), (not(any(rules())), all(negated(&parts)))]
            {
                prop_assert_eq!(one.holds(&push), other.holds(&push));
                if one.holds(&push) == Truth::True {
                    prop_assert_eq!(one.why(&push), other.why(&push));
                }
            }
        }
    }

    #[test]
    fn the_first_rule_that_fails_is_told_even_after_an_unknown_one() {
        let rule = |truth: Truth| Rule::new(Known(truth, 0));
        let failed = |detail: &str| Truth::False(Reason::new("known", detail));
        let push = push("refs/heads/main", &[]);
        let rules = [Truth::True, Truth::Unknown(Gap::Caps), failed("first"), failed("second")];
        assert_eq!(all(rules.clone().map(rule)).holds(&push), failed("first"));
        assert_eq!(any(rules.map(rule)).holds(&push), Truth::True);
        assert_eq!(any([failed("first"), failed("second")].map(rule)).holds(&push), failed("first"));
    }
}
