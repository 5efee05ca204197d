// The request just made, as a command or a program.

const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
const quoted = (text) => JSON.stringify(text);

/** Programs that send the file `name` to `url`. */
export const snippets = (url, name) => ({
  curl: `curl --data-binary ${shell(`@${name}`)} ${shell(url)}`,

  Python: `import json
from urllib.request import Request, urlopen

with open(${quoted(name)}, "rb") as photo:
    request = Request(${quoted(url)}, data=photo.read(),
                      headers={"Content-Type": "application/octet-stream"})
with urlopen(request) as response:
    for p in json.load(response)["predictions"]:
        print(f"{p['probability']:7.2%}  {p['label']}")`,

  JavaScript: `import { readFile } from "node:fs/promises";

const response = await fetch(${quoted(url)}, {
  method: "POST",
  body: await readFile(${quoted(name)}),
});
const { predictions } = await response.json();
console.table(predictions, ["label", "probability"]);`,
});
