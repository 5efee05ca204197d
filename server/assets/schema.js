// The schemas of the contract as rows of a table.

const DEEPEST = 4;

/** Follows a `$ref` of the contract. */
export const resolver = (contract) => function resolve(value) {
  if (!value?.$ref) return value;
  const names = value.$ref.replace(/^#\//, "").split("/");
  return resolve(names.reduce((node, name) => node[name], contract));
};

function typeOf(schema) {
  if (schema.enum) return schema.enum.join(" | ");
  const type = [schema.type ?? "object"].flat().join(" or ");
  return schema.format ? `${type} (${schema.format})` : type;
}

/** Name, type and description of each field; a field of a field is `outer.inner`, of items `list[].inner`. */
export function fieldRows(schema, resolve, prefix = "", depth = 0) {
  const { properties, items, oneOf } = resolve(schema) ?? {};
  if (depth > DEEPEST) return [];
  if (oneOf) return unique(oneOf.flatMap((one) => fieldRows(one, resolve, prefix, depth + 1)));
  if (items) return prefix ? fieldRows(items, resolve, `${prefix}[]`, depth + 1) : [];
  return Object.entries(properties ?? {}).flatMap(([key, value]) => {
    const field = resolve(value);
    const name = prefix ? `${prefix}.${key}` : key;
    return [{ name, type: typeOf(field), description: (field.description ?? "").trim() },
      ...fieldRows(field, resolve, name, depth + 1)];
  });
}

const unique = (rows) => [...new Map(rows.map((row) => [row.name, row])).values()];
