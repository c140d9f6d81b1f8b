// Says what @trustnxt/c2pa-ts finds in a file, as one line of JSON: {"valid", "codes", "error"}.
// It checks hashes, signatures and certificate profiles, and knows no roots. Fails where there is
// nothing to judge: no file, neither JPEG nor PNG, no manifest.
//
//     node verify.mjs FILE [--bare-tokens]
//
// --bare-tokens mends one step of c2pa-ts 0.9.4. It takes every time stamp for a TimeStampResp; in
// `sigTst2` there is the TimeStampToken alone (C2PA specification 2.1, 10.3.2.5.4). All that it
// then checks of the token is its own.
import { webcrypto } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import process from 'node:process';

globalThis.crypto ??= webcrypto; // Node 18 has it under the module's name alone

const [path, option] = process.argv.slice(2);
const { JPEG, PNG } = await import('@trustnxt/c2pa-ts/asset');
const { SuperBox } = await import('@trustnxt/c2pa-ts/jumbf');
const { ManifestStore, ValidationResult } = await import('@trustnxt/c2pa-ts/manifest');

if (option === '--bare-tokens') {
    const { ContentInfo, PKIStatus, PKIStatusInfo, TimeStampResp } = await import('pkijs');
    TimeStampResp.fromBER = token =>
        new TimeStampResp({
            status: new PKIStatusInfo({ status: PKIStatus.granted }),
            timeStampToken: ContentInfo.fromBER(token),
        });
} else if (option !== undefined) {
    throw new Error(`unknown option ${option}`);
}

const data = await readFile(path);
const Type = [JPEG, PNG].find(type => type.canRead(data));
if (!Type) throw new Error('neither JPEG nor PNG');
const asset = new Type(data);
const store = asset.getManifestJUMBF();
if (!store) throw new Error('no manifest');

let result;
let error = '';
try {
    result = await ManifestStore.read(SuperBox.fromBuffer(store)).validate(asset);
} catch (cause) {
    result = ValidationResult.fromError(cause);
    error = cause.message;
}
const codes = result.statusEntries.map(entry => entry.code);
process.stdout.write(`${JSON.stringify({ valid: result.isValid, codes, error })}\n`);
