// A page of connectors that grows, each refetched by its id, as an application on Relay writes it.
graphql`
  query ConnectorsQuery($count: Int = 10, $cursor: String) {
    ...Connectors_list @arguments(count: $count, cursor: $cursor)
  }
`;

graphql`
  fragment Connectors_list on Query
  @refetchable(queryName: "ConnectorsPageQuery")
  @argumentDefinitions(count: { type: "Int", defaultValue: 10 }, cursor: { type: "String" }) {
    connectors(first: $count, after: $cursor) @connection(key: "Connectors_connectors") {
      edges {
        node {
          ...Connectors_row
        }
      }
    }
  }
`;

graphql`
  fragment Connectors_row on Connector @refetchable(queryName: "ConnectorsRowQuery") {
    name
    status {
      ready
      channel {
        stage
      }
    }
  }
`;

graphql`
  mutation ConnectorsCreateMutation($input: ConnectorCreateInput!, $connections: [ID!]!) {
    connectorCreate(input: $input) {
      connector @appendNode(connections: $connections, edgeTypeName: "ConnectorEdge") {
        ...Connectors_row
      }
      userErrors {
        code
        field
        message
      }
    }
  }
`;

graphql`
  mutation ConnectorsDeleteMutation($input: ConnectorDeleteInput!) {
    connectorDelete(input: $input) {
      deletedConnectorId @deleteRecord
    }
  }
`;

graphql`
  subscription ConnectorsStatusSubscription($after: String) {
    channelStatusChanged(after: $after) {
      cursor
      connector {
        ...Connectors_row
      }
    }
  }
`;
