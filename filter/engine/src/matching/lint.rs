//! Rules that can never be met, because an earlier rule meets every request that they mean.

use super::rule_match::{Match, PathCondition};
use crate::http::Method;

/// A rule that is never the first to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// The rule's place in the list, from 0.
    pub rule: usize,
    /// The earlier rules that cover it: one, or several that do so together, method by method.
    pub by: Vec<usize>,
}

/// Every rule that earlier rules cover.
///
/// What is reported is certain. Two things are not seen: rules that cover another one together by their paths, hosts or
/// headers, and what a regular expression means (two are compared by their text; only a pattern for every path covers
/// one).
pub fn covered(rules: &[Match]) -> Vec<Covered> {
    let find = |(rule, later): (usize, &Match)| {
        let cover = |later: &Match| rules.iter().take(rule).position(|earlier| covers(earlier, later));
        if let Some(by) = cover(later) {
            return Some(Covered { rule, by: vec![by] });
        }
        if later.methods.is_empty() {
            return None;
        }
        let of_method = |method: &Method| cover(&Match { methods: vec![method.clone()], ..later.clone() });
        let mut by: Vec<usize> = later.methods.iter().map(of_method).collect::<Option<_>>()?;
        by.sort_unstable();
        by.dedup();
        Some(Covered { rule, by })
    };
    rules.iter().enumerate().filter_map(find).collect()
}

/// Whether every request that meets `later` meets `earlier` too, as far as can be told.
fn covers(earlier: &Match, later: &Match) -> bool {
    let path = match (&earlier.path, &later.path) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(mine), Some(theirs)) => path_covers(mine, theirs),
    };
    path && (earlier.methods.is_empty() || all_in(&later.methods, |method| earlier.methods.contains(method)))
        && (earlier.hosts.is_empty() || all_in(&later.hosts, |host| earlier.hosts.iter().any(|mine| mine.covers(host))))
        && earlier.headers.iter().all(|mine| later.headers.iter().any(|theirs| mine.covers(theirs)))
}

fn path_covers(earlier: &PathCondition, later: &PathCondition) -> bool {
    match (earlier, later) {
        (PathCondition::Pattern(mine), PathCondition::Pattern(theirs)) => mine.covers(theirs),
        (PathCondition::Pattern(mine), PathCondition::Regex(_)) => mine.segments().is_empty() && mine.has_rest(),
        (PathCondition::Regex(mine), PathCondition::Regex(theirs)) => mine.source() == theirs.source(),
        (PathCondition::Regex(_), PathCondition::Pattern(_)) => false,
    }
}

/// Whether the later rule has a list at all (an empty one means everything), and all of it satisfies `test`.
fn all_in<T>(list: &[T], test: impl Fn(&T) -> bool) -> bool {
    !list.is_empty() && list.iter().all(test)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::conditions::{HeaderCondition, HeaderValueCondition, HostPattern, PathRegex};
    use crate::matching::pattern::PathPattern;

    fn path(pattern: &str) -> Match {
        Match { path: Some(PathCondition::Pattern(PathPattern::parse(pattern).unwrap())), ..Match::default() }
    }

    fn regex(source: &str) -> Match {
        Match { path: Some(PathCondition::Regex(PathRegex::parse(source).unwrap())), ..Match::default() }
    }

    fn methods(rule: Match, methods: &[Method]) -> Match {
        Match { methods: methods.to_vec(), ..rule }
    }

    fn is_covered(earlier: &Match, later: &Match) -> bool {
        covered(&[earlier.clone(), later.clone()]) == [Covered { rule: 1, by: vec![0] }]
    }

    #[test]
    fn a_wider_pattern_covers_a_narrower_one_and_never_the_reverse() {
        for (wide, narrow) in [
            ("/**", "/"),
            ("/**", "/a/*/b"),
            ("/a/**", "/a"),
            ("/a/**", "/a/"),
            ("/a/**", "/a/b/**"),
            ("/a/*", "/a/b"),
            ("/a/{x}", "/a/b"),
            ("/*/**", "/a/**"),
        ] {
            assert!(is_covered(&path(wide), &path(narrow)), "{wide} {narrow}");
            assert!(!is_covered(&path(narrow), &path(wide)), "{narrow} {wide}");
        }
        assert!(is_covered(&path("/a/*"), &path("/a/{x}")));
    }

    #[test]
    fn patterns_that_only_overlap_cover_nothing() {
        for (one, other) in
            [("/a/*", "/*/b"), ("/a/*", "/a/"), ("/*/**", "/**"), ("/a", "/A"), ("/a", "/a/"), ("/a/*", "/a/**")]
        {
            assert!(!is_covered(&path(one), &path(other)), "{one} {other}");
        }
    }

    #[test]
    fn every_other_condition_must_be_covered_too() {
        let get = methods(path("/**"), &[Method::Get, Method::Head]);
        assert!(is_covered(&get, &methods(path("/a"), &[Method::Get])));
        assert!(!is_covered(&get, &methods(path("/a"), &[Method::Get, Method::Post])));
        assert!(!is_covered(&get, &path("/a")));
        let on = |host: &str| Match { hosts: vec![HostPattern::parse(host).unwrap()], ..path("/**") };
        assert!(is_covered(&on("*.a.b"), &on("x.a.b")) && is_covered(&path("/**"), &on("x")));
        assert!(!is_covered(&on("x.a.b"), &on("*.a.b")) && !is_covered(&on("x"), &path("/")));
        let with = |value| Match { headers: vec![HeaderCondition { name: "x".into(), value }], ..path("/**") };
        let exact = || with(HeaderValueCondition::Exact(b"ab"[..].into()));
        assert!(is_covered(&with(HeaderValueCondition::Present), &exact()));
        assert!(is_covered(&with(HeaderValueCondition::Prefix(b"a"[..].into())), &exact()));
        assert!(!is_covered(&exact(), &with(HeaderValueCondition::Present)) && !is_covered(&exact(), &path("/a")));
    }

    #[test]
    fn an_expression_is_compared_by_its_text_only() {
        assert!(is_covered(&regex("/a"), &regex("/a")) && is_covered(&path("/**"), &regex("/a")));
        assert!(!is_covered(&regex("/.*"), &path("/a")) && !is_covered(&path("/a/**"), &regex("/a/b")));
        assert!(!is_covered(&path("/**"), &Match::default()), "`*` is a target without a path");
        assert!(is_covered(&Match::default(), &path("/**")));
    }

    #[test]
    fn the_first_covering_rule_is_named() {
        let rules = [path("/x"), path("/a/**"), path("/**"), path("/a/b"), path("/y")];
        assert_eq!(covered(&rules), [Covered { rule: 3, by: vec![1] }, Covered { rule: 4, by: vec![2] }]);
    }

    #[test]
    fn rules_cover_another_one_together_by_its_methods() {
        let get = methods(path("/a/**"), &[Method::Get]);
        let post = methods(path("/**"), &[Method::Post]);
        let both = methods(path("/a/b"), &[Method::Get, Method::Post]);
        assert_eq!(covered(&[get.clone(), post.clone(), both.clone()]), [Covered { rule: 2, by: vec![0, 1] }]);
        assert!(covered(&[get.clone(), both]).is_empty());
        assert!(covered(&[get, post, path("/a/b")]).is_empty(), "other methods are left");
    }
}
