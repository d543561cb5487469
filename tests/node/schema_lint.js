// node schema_lint.js <schema.graphql>: prints one JSON line per complaint of @graphql-eslint.
import { readFileSync } from "node:fs";
import plugin from "@graphql-eslint/eslint-plugin";
import { ESLint } from "eslint";
import { buildSchema, isInputType, isLeafType } from "graphql";

const [path] = process.argv.slice(2);

// A value (a status, a count) has no identity and no id; every Node has both.
const types = Object.values(buildSchema(readFileSync(path, "utf8")).getTypeMap());
const values = types.filter((type) => !isLeafType(type) && !isInputType(type));
const withoutId = values.filter((type) => !type.getInterfaces?.().some((parent) => parent.name === "Node"));

const OBJECTS = "ObjectTypeDefinition,ObjectTypeExtension";
const recommended = plugin.configs["flat/schema-recommended"].rules;
const [severity, names] = recommended["@graphql-eslint/naming-convention"];
const rules = {
  ...recommended,
  ...plugin.configs["flat/schema-relay"].rules,
  "@graphql-eslint/require-description": [
    "error",
    {
      types: true,
      DirectiveDefinition: true,
      EnumValueDefinition: true,
      FieldDefinition: true,
      InputValueDefinition: true,
      rootField: true,
    },
  ],
  "@graphql-eslint/strict-id-in-types": ["error", { exceptions: { types: withoutId.map((type) => type.name) } }],
  // "Type" ends no type's name, but that of an event's type.
  "@graphql-eslint/naming-convention": [
    severity,
    { ...names, [OBJECTS]: { ...names[OBJECTS], ignorePattern: "^WebhookEventType$" } },
  ],
  // A log is read in one direction; `nodes` is a list beside `edges`; a record of a log is no Node.
  "@graphql-eslint/relay-arguments": ["error", { includeBoth: false }],
  "@graphql-eslint/relay-edge-types": [
    "error",
    { withEdgeSuffix: true, shouldImplementNode: false, listTypeCanWrapOnlyEdgeType: false },
  ],
  "@graphql-eslint/no-scalar-result-type-on-mutation": "error",
  "@graphql-eslint/require-nullable-fields-with-oneof": "error",
  "@graphql-eslint/require-nullable-result-in-root": "error",
};

const eslint = new ESLint({
  overrideConfigFile: true,
  overrideConfig: {
    files: ["**/*.graphql"],
    languageOptions: { parser: plugin.parser, parserOptions: { graphQLConfig: { schema: path } } },
    plugins: { "@graphql-eslint": plugin },
    rules,
  },
});
for (const { messages } of await eslint.lintFiles([path])) {
  for (const { ruleId, line, message } of messages) console.log(JSON.stringify({ ruleId, line, message }));
}
