// A time-stamping authority (RFC 3161) on a free port of this machine: `openssl ts` behind HTTP.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

const CONFIG = `
[req]
distinguished_name = dn
[dn]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[stamper]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
authorityKeyIdentifier = keyid
subjectKeyIdentifier = hash
[tsa]
default_tsa = config
[config]
dir = .
serial = serial
crypto_device = builtin
signer_cert = stamper.pem
certs = root.pem
signer_key = stamper.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
`;

export async function authority(dir) {
  mkdirSync(dir);
  const openssl = (...args) => execFileSync("openssl", args, { cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
  writeFileSync(join(dir, "tsa.cnf"), CONFIG);
  writeFileSync(join(dir, "serial"), "01\n");
  for (const name of ["root", "stamper"]) openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", `${name}.key`);
  openssl("req", "-x509", "-new", "-key", "root.key", "-subj", "/CN=Example Time Root", "-days", "30", "-config", "tsa.cnf", "-extensions", "root", "-out", "root.pem");
  openssl("req", "-new", "-key", "stamper.key", "-subj", "/CN=Example Time Stamper", "-config", "tsa.cnf", "-out", "stamper.csr");
  openssl("x509", "-req", "-in", "stamper.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "30", "-extfile", "tsa.cnf", "-extensions", "stamper", "-out", "stamper.pem");
  openssl("x509", "-in", "root.pem", "-outform", "DER", "-out", "root.der");
  const server = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      writeFileSync(join(dir, "request.tsq"), Buffer.concat(chunks));
      const reply = execFileSync("openssl", ["ts", "-reply", "-queryfile", "request.tsq", "-config", "tsa.cnf"], { cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
      response.writeHead(200, { "content-type": "application/timestamp-reply" }).end(reply);
    });
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    pem: join(dir, "root.pem"),
    der: join(dir, "root.der"),
    end: () => server.close(),
  };
}
