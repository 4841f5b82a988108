// Appends until the disk takes no more; says what was acknowledged, what the error was, and what verifies after it.
import { SecureLogError, openLog } from 'secure-log';

const log = await openLog(JSON.parse(process.argv[2]));
let acknowledged = 0;
try {
  for (;;) {
    log.append({ streamId: 's', eventType: 'e', payload: 'x'.repeat(5000) });
    acknowledged += 1;
  }
} catch (error) {
  if (!(error instanceof SecureLogError)) throw error;
  const verified = Number(log.verifyChain('s').payloadsChecked);
  console.log(JSON.stringify({ kind: error.kind, message: error.message, acknowledged, verified }));
}
log.close();
