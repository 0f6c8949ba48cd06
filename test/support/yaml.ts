/**
 * Reads YAML into plain values with the parser that prettier brings: enough for the files of this
 * repository (mappings, sequences, anchors and merges); what it does not know is an error, not a guess.
 * Scalars stay texts, except true, false and null where they are not quoted.
 */
import type { ParserOptions } from "prettier";
import { parsers } from "prettier/plugins/yaml";

export type YamlValue = string | boolean | null | readonly YamlValue[] | YamlMapping;
export interface YamlMapping {
  readonly [key: string]: YamlValue;
}

/** The part of prettier's syntax tree that is read here. */
interface Node {
  readonly type: string;
  readonly value?: string;
  readonly anchor?: { readonly value: string } | null;
  readonly children?: readonly (Node | null)[];
}

const UNQUOTED: Readonly<Record<string, boolean | null>> = {
  true: true,
  false: false,
  null: null,
  "~": null,
};

export function parseYaml(text: string): YamlValue {
  // The boundary to prettier, which types neither its tree nor that options may be left out.
  const root = parsers.yaml.parse(text, {} as ParserOptions) as Node;
  return valueOf(find(root, "documentBody"), new Map());
}

/** A mapping, or an error that says what was expected. */
export function mapping(value: YamlValue | undefined, what: string): YamlMapping {
  if (typeof value === "object" && value !== null && !isSequence(value)) return value;
  throw new Error(`${what} is not a mapping`);
}

function valueOf(node: Node | null | undefined, anchors: Map<string, YamlValue>): YamlValue {
  if (node === null || node === undefined) return null;
  const value = read(node, anchors);
  if (node.anchor) anchors.set(node.anchor.value, value);
  return value;
}

function read(node: Node, anchors: Map<string, YamlValue>): YamlValue {
  const children = node.children ?? [];
  switch (node.type) {
    case "plain":
      return unquoted(node.value ?? "");
    case "quoteDouble":
    case "quoteSingle":
    case "blockFolded":
    case "blockLiteral":
      return node.value ?? "";
    case "alias": {
      const target = anchors.get(node.value ?? "");
      if (target === undefined) throw new Error(`no anchor &${node.value ?? ""} above its alias`);
      return target;
    }
    case "sequence":
    case "flowSequence":
      return children.map((item) => valueOf(item, anchors));
    case "mapping":
    case "flowMapping":
      return merged(children, anchors);
    case "documentBody":
    case "mappingKey":
    case "mappingValue":
    case "sequenceItem":
    case "flowSequenceItem":
      return valueOf(children[0], anchors);
    case "null":
      return null;
    default:
      throw new Error(`YAML of the kind ${node.type} is not read here`);
  }
}

/** As YAML 1.1 merges: what stands in the mapping itself wins over what `<<` brings. */
function merged(items: readonly (Node | null)[], anchors: Map<string, YamlValue>): YamlMapping {
  const own: [string, YamlValue][] = [];
  let brought: YamlMapping = {};
  for (const item of items) {
    const [keyNode, valueNode] = item?.children ?? [];
    const key = valueOf(keyNode, anchors);
    if (typeof key !== "string") throw new Error("a key that is no text is not read here");
    const value = valueOf(valueNode, anchors);
    if (key === "<<") brought = { ...brought, ...mapping(value, "what << names") };
    else if (own.some(([other]) => other === key)) throw new Error(`the key ${key} stands twice`);
    else own.push([key, value]);
  }
  return { ...brought, ...Object.fromEntries(own) };
}

function unquoted(text: string): string | boolean | null {
  const constant = UNQUOTED[text];
  return constant === undefined ? text : constant;
}

function isSequence(value: YamlValue): value is readonly YamlValue[] {
  return Array.isArray(value);
}

function find(node: Node, type: string): Node | undefined {
  if (node.type === type) return node;
  for (const child of node.children ?? []) {
    const found = child === null ? undefined : find(child, type);
    if (found !== undefined) return found;
  }
  return undefined;
}
