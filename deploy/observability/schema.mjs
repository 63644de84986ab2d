// Writes each dashboard as TypeScript against the types that Grafana itself publishes, for `tsc` to find what Grafana
// would not know: names, values and their kinds. What a query asks is not looked at here.
//
//   node deploy/observability/schema.mjs FOLDER      FOLDER has @grafana/schema and typescript installed
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

const into = process.argv[2];
const dashboards = new URL("grafana/dashboards/", import.meta.url);
// Panels whose options have types of their own; those with `fields` style their series too.
const kinds = {
  stat: { name: "Stat" },
  bargauge: { name: "BarGauge" },
  logs: { name: "Logs" },
  timeseries: { name: "TimeSeries", fields: true },
  heatmap: { name: "Heatmap", fields: true },
  table: { name: "Table", fields: true },
  "state-timeline": { name: "StateTimeline", fields: true },
};
// Those of the list of alerts are in no published type.
const untyped = ["row", "alertlist"];

const imports = Object.entries(kinds).map(
  ([kind, { name }]) =>
    `import type * as ${name} from "@grafana/schema/dist/esm/raw/composable/${kind.replace("-", "")}/panelcfg/x/${name}PanelCfg_types.gen";`,
);
// As in JSON: the values of an enum are words, and what is left out has its default.
const plain =
  "type Plain<T> = T extends string ? `${T}` : T extends (infer U)[] ? Plain<U>[] : " +
  "T extends object ? { [K in keyof T]?: Plain<T[K]> } : T;";

const files = readdirSync(dashboards).map((file) => {
  const dashboard = JSON.parse(readFileSync(new URL(file, dashboards), "utf8"));
  const text = ['import type { Dashboard } from "@grafana/schema";', ...imports, plain];
  const hold = (name, value, type) =>
    text.push(`export const ${name} = ${JSON.stringify(value, null, 1)} satisfies Plain<${type}>;`);
  hold("dashboard", dashboard, "Dashboard");
  for (const { id, type, title, options, fieldConfig } of dashboard.panels) {
    if (untyped.includes(type)) continue;
    if (!kinds[type]) throw new Error(`${file}, ${title}: a panel of the kind ${type} is not known here`);
    text.push(`// ${title}`);
    hold(`options${id}`, options, `${kinds[type].name}.Options`);
    if (kinds[type].fields) hold(`fields${id}`, fieldConfig.defaults.custom ?? {}, `${kinds[type].name}.FieldConfig`);
  }
  const name = file.replace(".json", ".ts");
  writeFileSync(`${into}/${name}`, `${text.join("\n")}\n`);
  return name;
});
const compilerOptions = {
  strict: true, noEmit: true, module: "esnext", moduleResolution: "bundler", target: "es2022", skipLibCheck: true, types: [],
};
writeFileSync(`${into}/tsconfig.json`, JSON.stringify({ compilerOptions, files }));
