//! The cluster that facts are of: its name is empty where there is none, and then it is no attribute.

use std::sync::Arc;

use crate::attribute::{Attribute, Value};

/// Its name, if there is one.
pub(crate) fn named(cluster: &Arc<str>) -> Option<&Arc<str>> {
    Some(cluster).filter(|cluster| !cluster.is_empty())
}

/// What it is as an attribute.
pub(crate) fn attribute(cluster: &Arc<str>) -> Option<(Attribute, Value)> {
    named(cluster).map(|cluster| (Attribute::Cluster, Value::Text(cluster.clone())))
}

/// Attributes that all metrics have in common which others may export, too.
pub(crate) fn wire(cluster: &Arc<str>) -> Vec<(Attribute, Value)> {
    [(Attribute::Vantage, Value::Static("wire"))].into_iter().chain(attribute(cluster)).collect()
}
