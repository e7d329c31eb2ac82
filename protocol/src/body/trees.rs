//! Which APIs are read as trees (see [`tree`](super::tree)), and by what.

use crate::{
    ApiKey, ApiVersion, Limits, Sink,
    body::{
        Context, classic_group, consumer_describe, describe_cluster, describe_topics, find_coordinator, group_admin,
        group_heartbeat, leader_epoch, list_offsets, offset_commit, offset_fetch, share, streams_describe, topic_admin,
        transaction, tree::Tree,
    },
    reader::{Halt, Read, Reader},
};

/// A table of APIs with what reads the next part of each. `from`: the first version that is read.
macro_rules! trees {
    ($(#[$doc:meta])* $name:ident { $($api:ident $(from $oldest:path)? => $read:path,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name {
            api: ApiKey,
            tree: Tree,
        }

        impl $name {
            /// The walk over this known version of `api`; `None` if it is not read.
            pub(super) fn of(api: ApiKey, ApiVersion(version): ApiVersion) -> Option<Self> {
                let is_read = match api {
                    $(ApiKey::$api => true $(&& version >= $oldest)?,)*
                    _ => false,
                };
                let info = api.info().filter(|_| is_read)?;
                Some(Self { api, tree: Tree::new(version, info.is_flexible(ApiVersion(version))) })
            }

            #[inline(never)]
            pub(super) fn walk<S: Sink>(
                &mut self,
                reader: &mut Reader<'_, '_>,
                context: &mut Context<'_, S>,
            ) -> Read<()> {
                match self.api {
                    $(ApiKey::$api => self.tree.walk($read, reader, context),)*
                    _ => Err(Halt::Enough),
                }
            }
        }
    };
}

trees! {
    /// The walk over a request.
    RequestTree {
        LIST_OFFSETS => list_offsets::request,
        OFFSET_COMMIT => offset_commit::request,
        OFFSET_FETCH => offset_fetch::request,
        FIND_COORDINATOR => find_coordinator::request,
        JOIN_GROUP => classic_group::join_request,
        HEARTBEAT => classic_group::heartbeat_request,
        LEAVE_GROUP => classic_group::leave_request,
        SYNC_GROUP => classic_group::sync_request,
        INIT_PRODUCER_ID => transaction::init_request,
        ADD_OFFSETS_TO_TXN => transaction::add_offsets_request,
        END_TXN => transaction::end_request,
        TXN_OFFSET_COMMIT => offset_commit::transactional_request,
        OFFSET_DELETE => group_admin::delete_offsets_request,
        CONSUMER_GROUP_HEARTBEAT => group_heartbeat::consumer_request,
        SHARE_GROUP_HEARTBEAT from share::OLDEST => group_heartbeat::share_request,
        SHARE_FETCH from share::OLDEST => share::fetch_request,
        SHARE_ACKNOWLEDGE from share::OLDEST => share::acknowledge_request,
        STREAMS_GROUP_HEARTBEAT => group_heartbeat::streams_request,
    }
}

trees! {
    /// The walk over a response.
    ResponseTree {
        LIST_OFFSETS => list_offsets::response,
        OFFSET_COMMIT => offset_commit::response,
        OFFSET_FETCH => offset_fetch::response,
        FIND_COORDINATOR => find_coordinator::response,
        JOIN_GROUP => classic_group::join_response,
        HEARTBEAT => classic_group::heartbeat_response,
        LEAVE_GROUP => classic_group::leave_response,
        SYNC_GROUP => classic_group::sync_response,
        CREATE_TOPICS => topic_admin::create_response,
        DELETE_TOPICS => topic_admin::delete_response,
        INIT_PRODUCER_ID => transaction::init_response,
        OFFSET_FOR_LEADER_EPOCH => leader_epoch::response,
        ADD_PARTITIONS_TO_TXN => transaction::add_partitions_response,
        ADD_OFFSETS_TO_TXN => transaction::add_offsets_response,
        END_TXN => transaction::end_response,
        TXN_OFFSET_COMMIT => offset_commit::transactional_response,
        DELETE_GROUPS => group_admin::delete_groups_response,
        OFFSET_DELETE => group_admin::delete_offsets_response,
        DESCRIBE_CLUSTER => describe_cluster::response,
        CONSUMER_GROUP_HEARTBEAT => group_heartbeat::consumer_response,
        CONSUMER_GROUP_DESCRIBE => consumer_describe::response,
        DESCRIBE_TOPIC_PARTITIONS => describe_topics::response,
        SHARE_GROUP_HEARTBEAT from share::OLDEST => group_heartbeat::share_response,
        SHARE_FETCH from share::OLDEST => share::fetch_response,
        SHARE_ACKNOWLEDGE from share::OLDEST => share::acknowledge_response,
        STREAMS_GROUP_HEARTBEAT => group_heartbeat::streams_response,
        STREAMS_GROUP_DESCRIBE => streams_describe::response,
    }
}

impl ResponseTree {
    /// Longest part that is buffered, in bytes: of a SyncGroup response the whole assignment, which is told only if it can
    /// be read to its end.
    pub(super) const fn limit(&self, limits: &Limits) -> usize {
        if self.api.0 == ApiKey::SYNC_GROUP.0 { limits.collected } else { limits.field }
    }
}
