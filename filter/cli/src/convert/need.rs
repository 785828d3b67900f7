//! What a caller must be, beside what authenticates it.

/// All of its parts must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// A token of one of these providers.
    pub providers: Option<Vec<String>>,
    /// One of these scopes, for each list.
    pub scopes: Vec<Vec<String>>,
    /// A client certificate with one of these names.
    pub certificates: Option<Vec<String>>,
    /// Conditions on the token's claims, in CEL.
    pub conditions: Vec<String>,
    /// An address in one of these networks.
    pub networks: Option<Vec<String>>,
    /// An address in none of these networks.
    pub not_networks: Vec<String>,
}

impl Need {
    /// A condition on the token's claims.
    pub fn condition(condition: String) -> Self {
        Self { conditions: vec![condition], ..Self::default() }
    }

    /// Whether nobody without a token meets it.
    pub fn asks_for_token(&self) -> bool {
        self.providers.is_some() || !self.scopes.is_empty() || !self.conditions.is_empty()
    }

    /// Whether it asks for addresses, one way, and for nothing else.
    pub fn is_about_addresses(&self) -> bool {
        self.other_addresses().is_some()
    }

    /// The addresses that this one, which asks for nothing else, leaves out.
    pub fn other_addresses(&self) -> Option<Self> {
        let (inside, outside) = match (&self.networks, self.not_networks.as_slice()) {
            (Some(networks), []) => (None, networks.clone()),
            (None, networks @ [_, ..]) => (Some(networks.to_vec()), Vec::new()),
            _ => return None,
        };
        let rest = Self { networks: None, not_networks: Vec::new(), ..self.clone() };
        (rest == Self::default()).then_some(Self { networks: inside, not_networks: outside, ..rest })
    }

    /// What is needed where both are; `None`: it cannot be written.
    pub fn and(&self, other: &Self) -> Option<Self> {
        let providers = match (&self.providers, &other.providers) {
            (Some(a), Some(b)) => Some(a.iter().filter(|name| b.contains(name)).cloned().collect()),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Some(Self {
            providers,
            scopes: joined(&self.scopes, &other.scopes),
            certificates: one_of(&self.certificates, &other.certificates)?,
            conditions: joined(&self.conditions, &other.conditions),
            networks: one_of(&self.networks, &other.networks)?,
            not_networks: joined(&self.not_networks, &other.not_networks),
        })
    }

    /// What is needed where either is; `None`: they differ in more than one thing, and it cannot be written.
    pub fn or(&self, other: &Self) -> Option<Self> {
        let but = |change: fn(&mut Self)| {
            let (mut mine, mut theirs) = (self.clone(), other.clone());
            change(&mut mine);
            change(&mut theirs);
            (mine == theirs).then_some(mine)
        };
        if self == other {
            return Some(self.clone());
        }
        if let (Some(rest), Some(mine), Some(theirs)) =
            (but(|need| need.certificates = None), &self.certificates, &other.certificates)
        {
            return Some(Self { certificates: Some(joined(mine, theirs)), ..rest });
        }
        if let (Some(rest), Some(mine), Some(theirs)) =
            (but(|need| need.networks = None), &self.networks, &other.networks)
        {
            return Some(Self { networks: Some(joined(mine, theirs)), ..rest });
        }
        if let (Some(rest), [mine], [theirs]) =
            (but(|need| need.scopes.clear()), self.scopes.as_slice(), other.scopes.as_slice())
        {
            return Some(Self { scopes: vec![joined(mine, theirs)], ..rest });
        }
        if let (Some(rest), [mine], [theirs]) =
            (but(|need| need.conditions.clear()), self.conditions.as_slice(), other.conditions.as_slice())
        {
            return Some(Self { conditions: vec![format!("({mine}) || ({theirs})")], ..rest });
        }
        None
    }
}

/// Both lists, without what stands in both twice.
fn joined<T: Clone + PartialEq>(mine: &[T], theirs: &[T]) -> Vec<T> {
    let more = theirs.iter().filter(|entry| !mine.contains(entry));
    mine.iter().chain(more).cloned().collect()
}

/// The list that is there; `None`: two that differ.
#[allow(clippy::option_option, reason = "no list, and no way to write two, are not the same")]
fn one_of(mine: &Option<Vec<String>>, theirs: &Option<Vec<String>>) -> Option<Option<Vec<String>>> {
    match (mine, theirs) {
        (Some(a), Some(b)) if a != b => None,
        (a, b) => Some(a.clone().or_else(|| b.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(networks: &[&str]) -> Need {
        Need { networks: Some(networks.iter().map(|&network| network.to_owned()).collect()), ..Need::default() }
    }

    #[test]
    fn needs_that_differ_in_one_thing_are_one_need() {
        assert_eq!(
            networks(&["10.0.0.0/8"]).or(&networks(&["192.0.2.1"])),
            Some(networks(&["10.0.0.0/8", "192.0.2.1"]))
        );
        let either = Need::condition("a".to_owned()).or(&Need::condition("b".to_owned())).unwrap();
        assert_eq!(either.conditions, ["(a) || (b)"]);
    }

    #[test]
    fn needs_that_differ_in_two_things_are_not() {
        let scoped = Need { scopes: vec![vec!["read".to_owned()]], ..networks(&["10.0.0.0/8"]) };
        assert_eq!(scoped.or(&networks(&["192.0.2.1"])), None);
        assert_eq!(networks(&["10.0.0.0/8"]).or(&Need::default()), None, "one of them asks for nothing");
    }

    #[test]
    fn whom_one_denies_the_other_leaves_in() {
        let others = networks(&["10.0.0.0/8"]).other_addresses().unwrap();
        assert_eq!(others, Need { not_networks: vec!["10.0.0.0/8".to_owned()], ..Need::default() });
        assert_eq!(others.other_addresses().unwrap(), networks(&["10.0.0.0/8"]));
        let scoped = Need { scopes: vec![vec!["read".to_owned()]], ..others };
        assert_eq!((scoped.other_addresses(), Need::default().other_addresses()), (None, None));
    }

    #[test]
    fn two_lists_of_networks_are_not_met_by_one() {
        assert_eq!(networks(&["10.0.0.0/8"]).and(&networks(&["10.1.0.0/16"])), None);
        assert_eq!(networks(&["10.0.0.0/8"]).and(&Need::default()), Some(networks(&["10.0.0.0/8"])));
    }
}
