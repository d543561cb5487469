// node codegen.js <schema.graphql> <operation.graphql>…: prints what graphql-codegen's client preset makes of them.
import { readFileSync } from "node:fs";
import { codegen } from "@graphql-codegen/core";
import { preset } from "@graphql-codegen/client-preset";
import { buildSchema, parse } from "graphql";

const [path, ...operations] = process.argv.slice(2);
const text = readFileSync(path, "utf8");

const outputs = await preset.buildGeneratesSection({
  baseOutputDir: "generated/",
  schema: parse(text),
  schemaAst: buildSchema(text),
  documents: operations.map((location) => {
    const rawSDL = readFileSync(location, "utf8");
    return { location, rawSDL, document: parse(rawSDL) };
  }),
  config: { strictScalars: true, scalars: { DateTime: "string", JSON: "unknown" } },
  plugins: [],
  pluginMap: {},
  presetConfig: {},
});
for (const output of outputs) console.log(JSON.stringify({ name: output.filename, text: await codegen(output) }));
