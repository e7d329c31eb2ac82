//! Groups: who is a member, and who has what. Classic groups (JoinGroup, SyncGroup, Heartbeat, LeaveGroup), and those of
//! KIP-848 (consumers), KIP-932 (share) and KIP-1071 (streams), whose members only send heartbeats.
//!
//! An error of the whole response is also the [`Exchange`](crate::Exchange)'s error; where a response says nothing else
//! (Heartbeat, LeaveGroup) it is told there only.

use crate::{ErrorCode, PartitionIds, RequestSeq, TopicRef};

/// What kind of key a coordinator is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CoordinatorKind {
    /// A group id. The only kind in v0.
    Group,
    /// A transactional id.
    Transaction,
    /// A share partition: group, topic id and partition with colons between (KIP-932, v6+).
    Share,
    /// Not known to this build.
    Unknown(i8),
}

/// A key that a FindCoordinator request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoordinatorAsked<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// Kind of the key.
    pub kind: CoordinatorKind,
    /// The key. v4+ may ask for several.
    pub key: &'a [u8],
}

/// Where a coordinator is, as a FindCoordinator response says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coordinator<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// What happened.
    pub error: ErrorCode,
    /// The key it is for (v4+). Before, it is that of the request.
    pub key: Option<&'a [u8]>,
    /// Node id; -1 on error.
    pub node: i32,
    /// Advertised host; empty on error.
    pub host: &'a [u8],
    /// Advertised port; -1 on error.
    pub port: i32,
}

/// A JoinGroup request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinGroup<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The group.
    pub group: &'a [u8],
    /// The member; empty for one that joins for the first time.
    pub member_id: &'a [u8],
    /// Name of a static member (KIP-345, v5+).
    pub instance_id: Option<&'a [u8]>,
    /// What the group does: `consumer`, `connect`, or an application's own word.
    pub protocol_type: &'a [u8],
    /// Without a heartbeat for so long the member is thrown out, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long the others are waited for, in milliseconds (v1+).
    pub rebalance_timeout_ms: Option<i32>,
}

/// Why a member joins (KIP-800), in the client's own words: of a JoinGroup request v8+, after its [`JoinGroup`]. A client that
/// joins for the first time says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinReason<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The words.
    pub reason: &'a [u8],
}

/// The response to JoinGroup; the leader's is followed by a [`GroupMember`] for each member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinedGroup<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// What happened. `MEMBER_ID_REQUIRED` is no failure: the member joins again with the id given here.
    pub error: ErrorCode,
    /// Generation of the group; -1 on error.
    pub generation: i32,
    /// What the group does (v7+).
    pub protocol_type: Option<&'a [u8]>,
    /// The assignor that was chosen; empty or `None` on error.
    pub protocol: Option<&'a [u8]>,
    /// Member id of the leader.
    pub leader: &'a [u8],
    /// The member's own id.
    pub member_id: &'a [u8],
    /// How many members follow; 0 for all but the leader.
    pub members: u32,
}

/// A member that a JoinGroup response names to the group's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupMember<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The member.
    pub member_id: &'a [u8],
    /// Name of a static member (v5+).
    pub instance_id: Option<&'a [u8]>,
}

/// Who sends a SyncGroup or Heartbeat request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The group.
    pub group: &'a [u8],
    /// Its generation, as the member knows it.
    pub generation: i32,
    /// The member.
    pub member_id: &'a [u8],
    /// Name of a static member (KIP-345, v3+).
    pub instance_id: Option<&'a [u8]>,
}

/// The response to SyncGroup; an [`AssignedTopic`] for each assigned topic follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncedGroup<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// What happened.
    pub error: ErrorCode,
    /// What the group does (v5+).
    pub protocol_type: Option<&'a [u8]>,
    /// The assignor (v5+).
    pub protocol: Option<&'a [u8]>,
    /// How many topics follow. `None` if the assignment is not that of a consumer (`ConsumerProtocolAssignment`).
    pub topics: Option<u32>,
}

/// What a member has of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssignedTopic<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic: by name in classic groups, by id in the others.
    pub topic: TopicRef<'a>,
    /// Its partitions.
    pub partitions: PartitionIds<'a>,
}

/// A LeaveGroup request; a [`LeavingMember`] for each member follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaveGroup<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The group.
    pub group: &'a [u8],
}

/// A member that leaves, or that an administrator removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeavingMember<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The member; empty if it is given by its instance id.
    pub member_id: &'a [u8],
    /// Name of a static member (v3+).
    pub instance_id: Option<&'a [u8]>,
    /// Why, in the client's own words (KIP-800, v5+).
    pub reason: Option<&'a [u8]>,
}

/// The kinds of groups whose members only send heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupKind {
    /// KIP-848.
    Consumer,
    /// KIP-932: each record goes to one member, whatever its partition.
    Share,
    /// KIP-1071.
    Streams,
}

/// The start of a ConsumerGroupHeartbeat, ShareGroupHeartbeat or StreamsGroupHeartbeat request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupHeartbeat<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// Kind of the group.
    pub kind: GroupKind,
    /// The group.
    pub group: &'a [u8],
    /// The member; may be empty when it joins (ConsumerGroupHeartbeat v0).
    pub member_id: &'a [u8],
    /// 0: joins. -1: leaves. -2: leaves for a while (static members).
    pub member_epoch: i32,
    /// Name of a static member; share groups have none.
    pub instance_id: Option<&'a [u8]>,
}

/// What a member of a KIP-848 group says that it has: follows the [`GroupHeartbeat`], when it has changed or the member
/// joins. An [`Observation::OwnedTopic`](crate::Observation::OwnedTopic) for each topic follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnedPartitions {
    /// The request.
    pub seq: RequestSeq,
    /// How many topics follow.
    pub topics: u32,
}

/// The response to a heartbeat of those kinds; an [`AssignedTopic`] for each assigned topic follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupHeartbeatResult<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// Kind of the group.
    pub kind: GroupKind,
    /// What happened.
    pub error: ErrorCode,
    /// The member.
    pub member_id: Option<&'a [u8]>,
    /// Its epoch.
    pub member_epoch: i32,
    /// When the next heartbeat is due, in milliseconds.
    pub interval_ms: i32,
    /// How many topics follow: the whole assignment. `None`: it has not changed; always so for streams groups, which are
    /// assigned tasks.
    pub topics: Option<u32>,
}

/// A group in a DeleteGroups response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupDeleted<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The group.
    pub group: &'a [u8],
    /// Why it is still there, if it is.
    pub error: ErrorCode,
}

/// A group in a ConsumerGroupDescribe or StreamsGroupDescribe response; its members follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupDescribed<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// Kind of the group.
    pub kind: GroupKind,
    /// What happened.
    pub error: ErrorCode,
    /// The group.
    pub group: &'a [u8],
    /// Such as `Stable`; empty on error.
    pub state: &'a [u8],
    /// Rises when its members or what they subscribe to changes.
    pub epoch: i32,
    /// The epoch that the target assignment was made for.
    pub assignment_epoch: i32,
}

/// A member of a group that was described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberDescribed<'a> {
    /// The request. The group is that of the last [`GroupDescribed`] with this number.
    pub seq: RequestSeq,
    /// The member.
    pub member_id: &'a [u8],
    /// Name of a static member.
    pub instance_id: Option<&'a [u8]>,
    /// Its epoch.
    pub member_epoch: i32,
    /// Its client id.
    pub client_id: &'a [u8],
    /// Where it comes from, such as `/10.0.0.7`: with a proxy between, the proxy's address.
    pub client_host: &'a [u8],
}
