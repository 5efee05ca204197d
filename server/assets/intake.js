// How photos get onto the page: drop, paste, pick, camera, examples.

import { $ } from "./dom.js";

let pasted = 0;
let taken = 0;

/** Calls `add(files)` with the files of every way in. */
export function intake(add) {
  const picker = $("#files");
  picker.addEventListener("change", () => {
    add([...picker.files]);
    picker.value = "";
  });
  drops(add);
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    add(files.map((file) => {
      const ending = file.type.split("/")[1] ?? "png";
      return file.name === "image.png" || !file.name ? named(file, `pasted-${++pasted}.${ending}`) : file;
    }));
  });
  for (const button of document.querySelectorAll("[data-example]")) {
    button.addEventListener("click", async () => {
      const name = button.dataset.example;
      const blob = await (await fetch(`/assets/${name}`)).blob();
      add([named(blob, name)]);
    });
  }
  const camera = $("#camera");
  camera.addEventListener("click", ({ target }) => {
    if (target.value === "close") camera.close();
    if (target.value === "take") take(camera, add);
  });
  camera.addEventListener("close", () => {
    for (const track of $("video", camera).srcObject?.getTracks() ?? []) track.stop();
  });
}

const named = (blob, name) => new File([blob], name, { type: blob.type });

export const pick = () => $("#files").click();

function drops(add) {
  const veil = $("#dropping");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    veil.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) veil.hidden = true;
  });
  addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    veil.hidden = true;
    const { items, files } = event.dataTransfer;
    const entries = [...items].map((item) => item.webkitGetAsEntry?.());
    const folders = entries.some((entry) => entry?.isDirectory);
    add(folders ? (await Promise.all(entries.filter(Boolean).map(inside))).flat() : [...files]);
  });
}

/** The images in a dropped folder, or the dropped file. */
async function inside(entry, depth = 0) {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    return depth === 0 || file.type.startsWith("image/") ? [file] : [];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // A reader returns at most a hundred entries at a time.
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map((child) => inside(child, depth + 1)))).flat();
}

/** The camera of the computer in a dialog, or else the camera app of a phone. */
export async function openCamera() {
  const camera = $("#camera");
  if (!navigator.mediaDevices?.getUserMedia) {
    const picker = $("#files");
    picker.setAttribute("capture", "environment");
    picker.click();
    picker.removeAttribute("capture");
    return;
  }
  const [video, note, button] = [$("video", camera), $("p", camera), $("[value=take]", camera)];
  note.textContent = "";
  button.disabled = true;
  camera.showModal();
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    video.srcObject = stream;
    if (!camera.open) return stream.getTracks().forEach((track) => track.stop());
    await video.play();
    button.disabled = false;
  } catch (error) {
    note.textContent = error.name === "NotAllowedError"
      ? "The browser may not use the camera. Allow it in the settings of this page."
      : "No camera was found.";
  }
}

function take(camera, add) {
  const video = $("video", camera);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => add([named(blob, `camera-${++taken}.jpg`)]), "image/jpeg", 0.92);
  camera.close();
}
