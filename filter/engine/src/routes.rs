//! Policies that the proxy's own routes name, and whether the route still names the same one once the filter has
//! changed the request.
//!
//! A proxy may pick the route anew after a filter has written a header (Envoy does). A route that matches on such a
//! header would then serve a request that another route's policy has judged.

use std::collections::HashMap;

use crate::ports::Attributes;

/// Where a route may name a policy. What stands first beats what comes after it.
#[derive(Debug, Default)]
pub struct RouteSelection {
    /// The route's metadata.
    pub route_metadata: bool,
    /// The policy of a route by its name, as the policy's place among the rules.
    pub names: HashMap<String, usize>,
    /// The virtual host's metadata.
    pub virtual_host_metadata: bool,
}

/// What a route says about the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selected {
    /// Nothing: the rules decide.
    Nothing,
    /// It names this one of the rules.
    Rule(usize),
    /// It names a policy that the configuration does not have.
    Unknown {
        /// Who names it: `route` or `virtual host`.
        by: &'static str,
        /// The name, as the proxy hands it over.
        name: String,
    },
}

impl RouteSelection {
    /// The policy that the current route names, with each policy's place in `named`.
    pub fn select(&self, named: &HashMap<String, usize>, attributes: &dyn Attributes) -> Selected {
        let by_metadata = |by: &'static str, name: &[u8]| match std::str::from_utf8(name) {
            Ok(name) if named.contains_key(name) => named.get(name).map_or(Selected::Nothing, |at| Selected::Rule(*at)),
            _ => Selected::Unknown { by, name: String::from_utf8_lossy(name).into_owned() },
        };
        if self.route_metadata
            && let Some(name) = attributes.route_policy()
        {
            return by_metadata("route", &name);
        }
        if !self.names.is_empty()
            && let Some(name) = attributes.route_name()
            && let Some(rule) = std::str::from_utf8(&name).ok().and_then(|name| self.names.get(name))
        {
            return Selected::Rule(*rule);
        }
        if self.virtual_host_metadata
            && let Some(name) = attributes.virtual_host_policy()
        {
            return by_metadata("virtual host", &name);
        }
        Selected::Nothing
    }

    /// Whether any route can name a policy.
    pub fn is_in_use(&self) -> bool {
        self.route_metadata || self.virtual_host_metadata || !self.names.is_empty()
    }
}

/// What the route said when a request was judged, for a look once it has been routed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedRoute {
    /// The rule that was applied.
    pub rule: u16,
    /// The proxy's request id: the request's head is gone by then.
    pub(crate) request_id: Option<String>,
    /// The policy that the route named then.
    pub(crate) selected: Selected,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Route {
        policy: Option<&'static [u8]>,
        name: Option<&'static [u8]>,
        host_policy: Option<&'static [u8]>,
    }

    impl Attributes for Route {
        fn source_address(&self) -> Option<std::net::IpAddr> {
            None
        }

        fn route_policy(&self) -> Option<Vec<u8>> {
            self.policy.map(<[u8]>::to_vec)
        }

        fn route_name(&self) -> Option<Vec<u8>> {
            self.name.map(<[u8]>::to_vec)
        }

        fn virtual_host_policy(&self) -> Option<Vec<u8>> {
            self.host_policy.map(<[u8]>::to_vec)
        }
    }

    fn selected(selection: &RouteSelection, route: &Route) -> Selected {
        let named = HashMap::from([("orders".to_owned(), 7), ("host".to_owned(), 8)]);
        selection.select(&named, route)
    }

    fn all() -> RouteSelection {
        RouteSelection {
            route_metadata: true,
            names: HashMap::from([("r1".to_owned(), 9)]),
            virtual_host_metadata: true,
        }
    }

    #[test]
    fn the_route_beats_its_name_and_the_name_beats_the_virtual_host() {
        let mut route = Route { policy: Some(b"orders"), name: Some(b"r1"), host_policy: Some(b"host") };
        assert_eq!(selected(&all(), &route), Selected::Rule(7));
        route.policy = None;
        assert_eq!(selected(&all(), &route), Selected::Rule(9));
        route.name = Some(b"another");
        assert_eq!(selected(&all(), &route), Selected::Rule(8));
        route.host_policy = None;
        assert_eq!(selected(&all(), &route), Selected::Nothing);
    }

    #[test]
    fn a_name_that_nobody_knows_is_never_passed_over() {
        let route = |policy| Route { policy, name: Some(b"r1"), host_policy: Some(b"host") };
        for (name, shown) in [(&b"Orders"[..], "Orders"), (b"orders ", "orders "), (b"\xff", "\u{fffd}")] {
            let unknown = Selected::Unknown { by: "route", name: shown.to_owned() };
            assert_eq!(selected(&all(), &route(Some(name))), unknown);
        }
        let typo = Route { host_policy: Some(b"hots"), ..Route::default() };
        assert_eq!(selected(&all(), &typo), Selected::Unknown { by: "virtual host", name: "hots".to_owned() });
    }

    #[test]
    fn what_is_not_in_use_is_not_asked() {
        let selection = RouteSelection::default();
        assert!(!selection.is_in_use());
        let route = Route { policy: Some(b"orders"), name: Some(b"r1"), host_policy: Some(b"host") };
        assert_eq!(selected(&selection, &route), Selected::Nothing);
    }
}
