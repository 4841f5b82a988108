// Appends and says what was acknowledged, until it is killed (or a number of times).
import { writeSync } from 'node:fs';

import { openLog } from 'secure-log';

const log = await openLog(JSON.parse(process.argv[2]));
const times = Number(process.argv[3] ?? Infinity);
for (let n = 0; n < times; n++) {
  const { seqno } = log.append({ streamId: 's', eventType: 'e', payload: `payload ${n}` });
  writeSync(1, `${seqno}\n`);
}
