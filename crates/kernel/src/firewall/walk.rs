//! How a kind of packets passes chains of rules.

use std::cell::RefCell;

use super::{Fate, Rules};

/// Jumps that are followed one into another. The kernel allows 16.
const DEEPEST: usize = 16;

/// Which packets of a kind a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    /// All of them.
    All,
    /// Some that are named more closely, such as those to one port. Most are not.
    Some,
    /// That is not understood.
    Unread,
    /// None of them.
    None,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Does<C> {
    /// Nothing that decides, such as counting.
    Nothing,
    Accept,
    Drop,
    Return,
    Jump(C),
    Goto(C),
    /// That is not understood.
    Unread,
}

/// What becomes of the packets in a chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Walked {
    /// Whether most of them are accepted, if it is decided there.
    pub(super) accepted: Option<bool>,
    /// Whether a rule accepts some.
    some: bool,
    /// Whether a rule that is not understood may accept them.
    may_accept: bool,
    /// Whether a rule for some of them, or one that is not understood, may drop them.
    may_drop: bool,
}

/// Walks through a chain. `rules` has the rules of a chain, in order.
pub(super) fn walk<C: Clone, I: IntoIterator<Item = (Of, Does<C>)>>(
    chain: C,
    rules: &impl Fn(&C) -> I,
) -> Walked {
    below(&chain, rules, 0)
}

/// The rules that a walk through a chain meets, in order.
pub(super) fn met<C: Clone, I: IntoIterator<Item = (Of, Does<C>)>>(
    chain: C,
    rules: &impl Fn(&C) -> I,
) -> Vec<(Of, Does<C>)> {
    let met = RefCell::new(Vec::new());
    let noting = |chain: &C| {
        let noted = rules(chain).into_iter();
        noted.inspect(|rule| met.borrow_mut().push(rule.clone())).collect::<Vec<_>>()
    };
    walk(chain, &noting);
    met.into_inner()
}

fn below<C: Clone, I: IntoIterator<Item = (Of, Does<C>)>>(
    chain: &C,
    rules: &impl Fn(&C) -> I,
    depth: usize,
) -> Walked {
    let mut walked = Walked::default();
    if depth > DEEPEST {
        return Walked { may_accept: true, may_drop: true, ..walked };
    }
    for (of, does) in rules(chain) {
        let decided = |accepted| Walked { accepted: Some(accepted), ..walked };
        let is_goto = matches!(does, Does::Goto(_));
        match (of, does) {
            (Of::None, _) | (_, Does::Nothing) => {}
            (Of::All, Does::Accept) => return decided(true),
            (Of::All, Does::Drop) => return decided(false),
            (Of::All, Does::Return) => return walked,
            (Of::All, Does::Jump(to)) => {
                let there = below(&to, rules, depth + 1);
                walked = walked.and(there);
                if there.accepted.is_some() {
                    return Walked { accepted: there.accepted, ..walked };
                }
            }
            (Of::All, Does::Goto(to)) => {
                let there = below(&to, rules, depth + 1);
                return Walked { accepted: there.accepted, ..walked.and(there) };
            }
            (Of::Some, Does::Accept) => walked.some = true,
            (Of::Unread, Does::Accept) => walked.may_accept = true,
            // Of those that return, some may meet another end.
            (Of::Some | Of::Unread, Does::Drop) | (Of::Some, Does::Return) => walked.may_drop = true,
            (Of::Some | Of::Unread, Does::Jump(to) | Does::Goto(to)) => {
                let there = below(&to, rules, depth + 1);
                let accepts = there.accepted == Some(true) || there.some;
                walked.some |= of == Of::Some && accepts;
                walked.may_accept |= there.may_accept || of == Of::Unread && accepts;
                walked.may_drop |= there.may_drop || there.accepted == Some(false);
                // Those that do not come back meet what comes after the chain.
                walked.may_drop |= is_goto && there.accepted.is_none();
            }
            (_, Does::Unread) | (Of::Unread, _) => {
                walked.may_accept = true;
                walked.may_drop = true;
            }
        }
    }
    walked
}

impl Walked {
    /// The same, after what may have happened in a chain below.
    fn and(self, there: Walked) -> Walked {
        Walked {
            accepted: self.accepted,
            some: self.some | there.some,
            may_accept: self.may_accept | there.may_accept,
            may_drop: self.may_drop | there.may_drop,
        }
    }

    /// What that means, where the policy decides about those that no rule decides about.
    pub(super) fn fate(self, policy: bool, by: impl FnOnce() -> Rules) -> Fate {
        match self.accepted.unwrap_or(policy) {
            true if self.may_drop => Fate::Unclear,
            true => Fate::Pass,
            false if self.may_accept => Fate::Unclear,
            false => Fate::Dropped { by: by(), but_some: self.some },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = (Of, Does<usize>);

    fn walked(chains: &[&[Rule]]) -> Walked {
        walk(0, &|chain: &usize| chains[*chain].to_vec())
    }

    fn fate(chains: &[&[Rule]], policy: bool) -> Fate {
        walked(chains).fate(policy, || Rules::Legacy)
    }

    const DROPPED: Fate = Fate::Dropped { by: Rules::Legacy, but_some: false };
    const ALL_BUT_SOME: Fate = Fate::Dropped { by: Rules::Legacy, but_some: true };

    #[test]
    fn the_policy_decides_what_no_rule_does() {
        assert_eq!(fate(&[&[]], true), Fate::Pass);
        assert_eq!(fate(&[&[]], false), DROPPED);
        assert_eq!(fate(&[&[(Of::None, Does::Accept), (Of::All, Does::Nothing)]], false), DROPPED);
        assert_eq!(fate(&[&[(Of::All, Does::Accept)]], false), Fate::Pass);
        assert_eq!(fate(&[&[(Of::All, Does::Drop), (Of::All, Does::Accept)]], true), DROPPED);
    }

    #[test]
    fn a_rule_for_some_spares_some_alone_and_one_that_is_not_understood_makes_it_unclear() {
        assert_eq!(fate(&[&[(Of::Some, Does::Accept)]], false), ALL_BUT_SOME);
        assert_eq!(fate(&[&[(Of::Unread, Does::Accept)]], false), Fate::Unclear);
        assert_eq!(fate(&[&[(Of::All, Does::Unread)]], false), Fate::Unclear);
        for of in [Of::Some, Of::Unread] {
            for rule in [Does::Drop, Does::Jump(1), Does::Goto(1)] {
                let chains: [&[Rule]; 2] = [&[(of, rule), (Of::All, Does::Accept)], &[(Of::All, Does::Drop)]];
                assert_eq!(
                    fate(&chains, true),
                    Fate::Unclear,
                    "neither that they pass is claimed nor that not"
                );
            }
        }
        for of in [Of::All, Of::Some, Of::Unread] {
            assert_eq!(fate(&[&[(of, Does::Unread)]], true), Fate::Unclear, "{of:?}");
        }
        assert_eq!(fate(&[&[(Of::Unread, Does::Accept)]], true), Fate::Pass);
        assert_eq!(fate(&[&[(Of::All, Does::Accept), (Of::Some, Does::Drop)]], true), Fate::Pass);
        // In a chain below too, and of those that come back or do not.
        assert_eq!(fate(&[&[(Of::All, Does::Jump(1))], &[(Of::Some, Does::Drop)]], true), Fate::Unclear);
        let passes = (Of::All, Does::Accept);
        assert_eq!(
            fate(&[&[(Of::All, Does::Jump(1))], &[(Of::Some, Does::Return), passes]], false),
            Fate::Unclear
        );
        assert_eq!(fate(&[&[(Of::Some, Does::Goto(1)), (Of::All, Does::Accept)], &[]], false), Fate::Unclear);
        assert_eq!(fate(&[&[(Of::Unread, Does::Drop)]], false), DROPPED);
    }

    #[test]
    fn what_is_met_differs_with_the_chains_that_are_gone_through() {
        let chains: [&[Rule]; 3] = [
            &[(Of::All, Does::Jump(1)), (Of::None, Does::Jump(2))],
            &[(Of::Some, Does::Drop)],
            &[(Of::All, Does::Drop)],
        ];
        let met = met(0, &|chain: &usize| chains[*chain].to_vec());
        assert_eq!(met, [chains[0], chains[1]].concat());
    }

    #[test]
    fn jumps_come_back_and_gotos_do_not() {
        let accepts = [(Of::All, Does::Accept)];
        let nothing: [Rule; 1] = [(Of::All, Does::Return)];
        assert_eq!(fate(&[&[(Of::All, Does::Jump(1))], &accepts], false), Fate::Pass);
        assert_eq!(
            fate(&[&[(Of::All, Does::Jump(1)), (Of::All, Does::Accept)], &nothing], false),
            Fate::Pass
        );
        assert_eq!(fate(&[&[(Of::All, Does::Goto(1)), (Of::All, Does::Accept)], &nothing], false), DROPPED);
        assert_eq!(fate(&[&[(Of::Some, Does::Jump(1))], &accepts], false), ALL_BUT_SOME);
        assert_eq!(fate(&[&[(Of::Unread, Does::Goto(1))], &accepts], false), Fate::Unclear);
        assert_eq!(fate(&[&[(Of::Unread, Does::Jump(1))], &nothing], false), DROPPED);
        // The kernel allows no circles. A table that changes while it is read may have one.
        assert_eq!(fate(&[&[(Of::All, Does::Jump(0))]], false), Fate::Unclear);
    }
}
