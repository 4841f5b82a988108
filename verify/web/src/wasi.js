// What Rust's standard library imports, answered with nothing: no environment, no files, no clock, no exit. Standard
// error is kept, because a panic writes its reason there before it traps.

class Closed {
  constructor() {
    throw new Error("the examiner has no files and no input");
  }
}

class Failure {
  toDebugString() {
    return "refused";
  }
}

class Pollable {
  ready() {
    return true;
  }
  block() {}
}

const LIMIT = 8192;

/** Import object for one instance, and what it wrote to standard error. */
export function refuseEverything() {
  const decoder = new TextDecoder();
  let said = "";
  class OutputStream {
    checkWrite() {
      return 4096n;
    }
    write(bytes) {
      if (said.length < LIMIT) said += decoder.decode(bytes);
    }
    blockingWriteAndFlush(bytes) {
      this.write(bytes);
    }
    flush() {}
    blockingFlush() {}
    subscribe() {
      return new Pollable();
    }
  }
  class InputStream {
    read() {
      throw { tag: "closed" };
    }
    blockingRead() {
      throw { tag: "closed" };
    }
    subscribe() {
      return new Pollable();
    }
  }
  const random = (n) => crypto.getRandomValues(new Uint8Array(n));
  const seed = () => new BigUint64Array(random(16).buffer);
  const interfaces = {
    "wasi:cli/environment": { getEnvironment: () => [], getArguments: () => [], initialCwd: () => undefined },
    "wasi:cli/exit": {
      exit(status) {
        throw new Error(`the examiner ended itself (${status?.tag ?? status})`);
      },
    },
    "wasi:cli/stdin": { getStdin: () => new InputStream() },
    "wasi:cli/stdout": { getStdout: () => new OutputStream() },
    "wasi:cli/stderr": { getStderr: () => new OutputStream() },
    "wasi:cli/terminal-input": { TerminalInput: Closed },
    "wasi:cli/terminal-output": { TerminalOutput: Closed },
    "wasi:cli/terminal-stdin": { getTerminalStdin: () => undefined },
    "wasi:cli/terminal-stdout": { getTerminalStdout: () => undefined },
    "wasi:cli/terminal-stderr": { getTerminalStderr: () => undefined },
    "wasi:clocks/monotonic-clock": { now: () => 0n, resolution: () => 1n, subscribeDuration: () => new Pollable(), subscribeInstant: () => new Pollable() },
    "wasi:clocks/wall-clock": { now: () => ({ seconds: 0n, nanoseconds: 0 }), resolution: () => ({ seconds: 1n, nanoseconds: 0 }) },
    "wasi:filesystem/preopens": { getDirectories: () => [] },
    "wasi:filesystem/types": { Descriptor: Closed, DirectoryEntryStream: Closed, filesystemErrorCode: () => undefined },
    "wasi:io/error": { Error: Failure },
    "wasi:io/poll": { Pollable, poll: (list) => Uint32Array.from(list.keys()) },
    "wasi:io/streams": { InputStream, OutputStream },
    // Seeds of hash tables; nothing that is shown depends on them.
    "wasi:random/random": { getRandomBytes: (n) => random(Number(n)), getRandomU64: () => seed()[0] },
    "wasi:random/insecure-seed": { insecureSeed: () => [...seed()], getInsecureSeed: () => [...seed()] },
  };
  return { interfaces, said: () => said.trim() };
}

export const ANSWERED = Object.freeze(Object.keys(refuseEverything().interfaces));
