import { plain } from "./text.js";

const KEY = /^[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=*$/;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----/g;

const lines = (text) => text.split(/\r?\n/).map((line) => line.trim()).filter((line) => line && !line.startsWith("#"));

/** Verifier keys from text, one a line, or what `eds keys show` prints. The engine judges them; here only what cannot be one is named. */
export function verifierKeys(text) {
  const keys = lines(text.replace(/-----BEGIN PUBLIC KEY-----[^-]*-----END PUBLIC KEY-----/g, ""));
  const wrong = keys.findIndex((key) => !KEY.test(key));
  if (wrong >= 0) {
    throw new Error(`Key ${wrong + 1}, “${plain(keys[wrong], 60)}”, is no verifier key. One looks like name+8 hexadecimal digits+base64; “eds keys show NAME --origin LOG” prints it.`);
  }
  return [...new Set(keys)];
}

/** Public keys of devices as bytes, from lines of 64 hexadecimal digits. */
export function deviceKeys(text) {
  return [...new Set(lines(text).map((line) => line.toLowerCase()))].map((line, at) => {
    if (!/^[0-9a-f]{64}$/.test(line)) {
      throw new Error(`Device key ${at + 1}, “${plain(line, 60)}”, has ${line.length} characters: a public key has 64 hexadecimal digits.`);
    }
    return Uint8Array.from(line.match(/../g), (pair) => parseInt(pair, 16));
  });
}

/** The `public_key_hex` members of a key file: JSON as `eds audit keygen` writes it, one object, an array, or plain hexadecimal. */
export function keyFile(name, text) {
  if (/^[\s0-9a-fA-F]+$/.test(text)) return { keys: lines(text), secret: false };
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`${plain(name)} is neither hexadecimal nor JSON with “public_key_hex”.`);
  }
  const keys = [];
  let secret = false;
  const look = (node, depth) => {
    if (depth > 4 || node === null || typeof node !== "object") return;
    for (const [key, member] of Object.entries(node)) {
      if (key === "public_key_hex" && typeof member === "string") keys.push(member);
      else if (key === "private_key_hex") secret = true;
      else look(member, depth + 1);
    }
  };
  look(value, 0);
  if (keys.length === 0) throw new Error(`${plain(name)} has no “public_key_hex”: it is not a device's key file.`);
  return { keys, secret };
}

/** Certificates in DER, out of PEM or as they are. */
export function certificates(name, bytes) {
  const text = new TextDecoder("latin1").decode(bytes);
  const found = [...text.matchAll(CERTIFICATE)].map((match) => {
    try {
      return Uint8Array.from(atob(match[1].replace(/\s+/g, "")), (char) => char.charCodeAt(0));
    } catch {
      throw new Error(`A certificate in ${plain(name)} is not base64: take the file anew from the authority.`);
    }
  });
  if (found.length > 0) return found;
  if (bytes[0] === 0x30 && bytes.length > 100) return [bytes];
  throw new Error(`${plain(name)} is no certificate, neither PEM nor DER.`);
}

const LIMIT = 1 << 20;

/** What a dropped file is: one of the fields, or the document to examine. Only small files can be keys. */
export async function kindOf(file) {
  if (file.size > LIMIT || file.size === 0) return "document";
  if (/\.vkey$/i.test(file.name)) return "keys";
  const bytes = new Uint8Array(await file.arrayBuffer());
  const text = new TextDecoder("latin1").decode(bytes);
  if (text.includes("-----BEGIN CERTIFICATE-----")) return "anchors";
  if (/\.(der|cer|crt)$/i.test(file.name) && bytes[0] === 0x30) return "anchors";
  const content = lines(text);
  if (content.length > 0 && content.every((line) => KEY.test(line))) return "keys";
  if (/^\s*[{[]/.test(text) && text.includes('"public_key_hex"') && !text.includes('"signature"') && !text.includes('"evidence-bundle"')) return "devices";
  if (content.length > 0 && content.every((line) => /^[0-9a-fA-F]{64}$/.test(line))) return "devices";
  if (content.length > 0 && content.every((line) => /^(log|witness|group|quorum)\s/.test(line))) return "policy";
  return "document";
}
