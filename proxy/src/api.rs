//! What the admin server serves besides health and metrics: clients, topics, groups, and facts for other proxies.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use kafkascope_telemetry::clients::{self, ClientRow};
use kafkascope_telemetry::knowledge::GroupRow;
use kafkascope_telemetry::topics::{self, TopicRow};

use crate::rounds::Rounds;

pub(crate) fn routes(rounds: Rounds) -> Router {
    Router::new()
        .route("/api/clients", get(client_rows))
        .route("/api/topics", get(topic_rows))
        .route("/api/groups", get(group_rows))
        .route("/api/facts", get(facts))
        .with_state(rounds)
}

async fn client_rows(State(rounds): State<Rounds>) -> Json<Vec<ClientRow>> {
    let now = rounds.collect().await;
    Json(clients::view(&rounds.registry, now))
}

async fn topic_rows(State(rounds): State<Rounds>) -> Json<Vec<TopicRow>> {
    let now = rounds.collect().await;
    Json(topics::view(&rounds.registry, now))
}

async fn group_rows(State(rounds): State<Rounds>) -> Json<Vec<GroupRow>> {
    let now = rounds.collect().await;
    Json(rounds.registry.groups(now))
}

/// As of the last second: what is asked once a second by each of many need not disturb the workers.
async fn facts(State(rounds): State<Rounds>, RawQuery(query): RawQuery) -> Response {
    let (mut instance, mut since) = (None, 0);
    for (key, value) in query.iter().flat_map(|query| query.split('&')).filter_map(|pair| pair.split_once('=')) {
        match (key, value.parse()) {
            ("since", Ok(cursor)) => since = cursor,
            ("since", Err(_)) => return (StatusCode::BAD_REQUEST, "since is not a cursor\n").into_response(),
            ("instance", _) => instance = Some(value),
            _ => {}
        }
    }
    Json(rounds.registry.knowledge().page(instance, since)).into_response()
}
