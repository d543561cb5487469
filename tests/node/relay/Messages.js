// Messages read backwards, whatever a node is, and events of several kinds.
graphql`
  query MessagesQuery($count: Int = 25, $cursor: String) {
    ...Messages_list @arguments(count: $count, cursor: $cursor)
  }
`;

graphql`
  fragment Messages_list on Query
  @refetchable(queryName: "MessagesPageQuery")
  @argumentDefinitions(count: { type: "Int", defaultValue: 25 }, cursor: { type: "String" }) {
    messages(last: $count, before: $cursor) @connection(key: "Messages_messages") {
      edges {
        node {
          id
          status
        }
      }
    }
  }
`;

graphql`
  query MessagesNodeQuery($ids: [ID!]!) {
    nodes(ids: $ids) {
      __typename
      ... on Message {
        to
      }
      ... on Connector {
        name
      }
    }
  }
`;

graphql`
  subscription MessagesEventsSubscription($after: String) {
    events(after: $after) {
      __typename
      cursor
      ... on DeliveryUpdated {
        message {
          id
          status
        }
      }
    }
  }
`;
