//! `LISTEN=UPSTREAM[,observe=..][,name=..][,id=..]`.

use super::{ListenAddress, UpstreamAddress};

/// A listener and where its connections lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where clients connect.
    pub listen: ListenAddress,
    /// The broker.
    pub upstream: UpstreamAddress,
    /// How much is decoded.
    pub observe: Observe,
    /// The cluster, for those who run a proxy before several.
    pub name: Option<String>,
    /// The broker's node id.
    pub id: Option<i32>,
}

/// How much of a route's traffic is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Observe {
    /// Nothing: connections and bytes are counted.
    None,
    /// Headers: requests by API, sizes, times.
    Headers,
    /// Bodies, too.
    #[default]
    Full,
}

impl Route {
    pub(super) fn parse(text: &str, observe: Observe) -> Result<Self, String> {
        let (listen, rest) = text
            .split_once('=')
            .ok_or_else(|| "has no '=' between LISTEN and UPSTREAM, e.g. 127.0.0.1:19092=127.0.0.1:9092".to_owned())?;
        let mut parts = rest.split(',');
        let mut route = Self {
            listen: ListenAddress::parse(listen)
                .map_err(|problem| format!("listens at {listen:?}, which {problem}"))?,
            upstream: match parts.next() {
                None | Some("") => return Err("has no UPSTREAM after '='".to_owned()),
                Some(upstream) => UpstreamAddress::parse(upstream)
                    .map_err(|problem| format!("leads to {upstream:?}, which {problem}"))?,
            },
            observe,
            name: None,
            id: None,
        };
        for option in parts {
            match option.split_once('=') {
                Some(("observe", value)) => {
                    route.observe =
                        Observe::parse(value).map_err(|problem| format!("has observe={value}, which {problem}"))?;
                }
                Some(("name", value)) if !value.is_empty() => route.name = Some(value.to_owned()),
                Some(("id", value)) => match value.parse() {
                    Ok(id @ 0..) => route.id = Some(id),
                    _ => return Err(format!("has id={value}, which is not a node id (a whole number from 0)")),
                },
                _ => return Err(format!("has the option {option:?}; there are observe=, name= and id=")),
            }
        }
        Ok(route)
    }
}

impl Observe {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "headers" => Ok(Self::Headers),
            "full" => Ok(Self::Full),
            _ => Err("is not one of none, headers, full".to_owned()),
        }
    }
}
