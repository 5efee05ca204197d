// The API key of a server that needs one. It is kept for this tab only.

const NAME = "api-key";
let declined = false;

const stored = () => sessionStorage.getItem(NAME) ?? "";

/** `fetch` with the key. Asks the visitor for one when the server needs another. */
export async function fetchWithKey(path, options = {}) {
  const key = stored();
  const response = await send(path, options, key);
  return response.status === 401 && another(key) ? send(path, options, stored()) : response;
}

const send = (path, options, key) =>
  fetch(path, key ? { ...options, headers: { ...options.headers, "x-api-key": key } } : options);

/** Whether there is a key that is not `refused`: several requests may wait for one. */
function another(refused) {
  if (stored() !== refused) return true;
  if (declined) return false;
  const key = prompt("This server needs an API key. It is kept until this tab is closed.")?.trim();
  declined = !key;
  if (key) sessionStorage.setItem(NAME, key);
  return Boolean(key);
}
