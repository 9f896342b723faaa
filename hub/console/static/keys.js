// Keys: an approval, and the end of a halt, is signed in the browser, by the person's own security
// key or device.
// Loaded before console.js, so that a form is held back until the key has answered.
"use strict";

const patience = 120000; // milliseconds to find the key

function bytes(text) {
  const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

function base64url(buffer) {
  const plain = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function why(error) {
  switch (error.name) {
    case "NotAllowedError": return "Your key did not answer, or did not check who you are.";
    case "InvalidStateError": return "This key is among yours already.";
    case "SecurityError": return "The published list of people names another address for the console than this one.";
    case "NotSupportedError": return "This key cannot do what is needed here.";
    default: return `The browser could not use your key: ${error.message}`;
  }
}

function tell(id, text) {
  const place = document.getElementById(id);
  if (!place) return;
  place.textContent = text;
  place.hidden = !text;
}

function fill(form, values) {
  for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
}

// The page may have changed while the key was looked for: only the very same plan or halt is answered.
async function sign(form, way) {
  const asked = form.dataset.sign;
  const answer = await navigator.credentials.get({ publicKey: {
    challenge: bytes(asked),
    rpId: form.dataset.rp,
    allowCredentials: form.dataset.keys.split(" ").map((id) => ({ type: "public-key", id: bytes(id) })),
    userVerification: "required",
    timeout: patience,
  } });
  const now = document.getElementById(form.id);
  if (now?.dataset.sign !== asked) {
    tell(way.problem, `The ${way.what} changed while you were asked. ${way.none} Please look again.`);
    return;
  }
  fill(now, {
    credential_id: base64url(answer.rawId),
    authenticator_data: base64url(answer.response.authenticatorData),
    client_data: base64url(answer.response.clientDataJSON),
    signature: base64url(answer.response.signature),
  });
  now.submit();
}

async function enrol(form) {
  const made = await navigator.credentials.create({ publicKey: {
    challenge: bytes(form.dataset.challenge),
    rp: { id: form.dataset.rp, name: "Sentinel" },
    user: { id: bytes(form.dataset.user), name: form.dataset.name, displayName: form.dataset.name },
    pubKeyCredParams: [-7, -8, -257].map((alg) => ({ type: "public-key", alg })),
    authenticatorSelection: { userVerification: "required", residentKey: "discouraged" },
    attestation: "none",
    timeout: patience,
  } });
  fill(form, {
    attestation: base64url(made.response.attestationObject),
    client_data: base64url(made.response.clientDataJSON),
  });
  form.submit();
}

const ways = [
  { wants: (form, button) => form.dataset.sign && button?.id === "approve", act: sign, problem: "sign-problem", what: "plan", none: "Nothing was approved." },
  { wants: (form) => form.dataset.resume !== undefined, act: sign, problem: "resume-problem", what: "halt", none: "The halt stays." },
  { wants: (form) => form.dataset.challenge, act: enrol, problem: "enrol-problem", none: "No key was added." },
];

let busy = false; // one question at a time

async function held(event) {
  const way = ways.find((one) => one.wants(event.target, event.submitter));
  if (!way) return;
  event.preventDefault();
  event.stopPropagation(); // it is not sent yet
  if (busy) return;
  busy = true;
  tell(way.problem, "");
  try {
    if (!window.PublicKeyCredential) throw new Error("it does not know how to speak to keys");
    await way.act(event.target, way);
  } catch (error) {
    tell(way.problem, `${way.none} ${why(error)}`);
  } finally {
    busy = false;
  }
}

document.addEventListener("submit", held, true);
