// An SMSC on node-smpp that delivers three messages in parts, each part when the one before it was acknowledged.
// node node_smpp_parts.js PORT LOG
const fs = require("fs");
const smpp = require(`${process.env.VERIFIERS_HOME}/npm/node_modules/smpp`);
const [port, log] = process.argv.slice(2);

const parties = { source_addr_ton: 1, source_addr_npi: 1, source_addr: "447700900123", destination_addr: "12345" };
const headed = (data_coding, header, message) => ({
  data_coding,
  short_message: { udh: Buffer.from([header.length, ...header]), message },
});
const short = (total, number, message) => headed(0, [0x00, 3, 7, total, number], message);
const long = (total, number, message) => headed(8, [0x08, 4, 1, 7, total, number], message);
const tagged = (total, number, message) => ({
  data_coding: 0,
  sar_msg_ref_num: 7,
  sar_total_segments: total,
  sar_segment_seqnum: number,
  short_message: message,
});
const parts = [
  short(3, 2, "two €, "),
  long(2, 1, "Привет "),
  tagged(2, 2, "segments"),
  short(3, 1, "one {@}, "),
  tagged(2, 1, "tagged "),
  long(2, 2, "🎉"),
  short(3, 3, "three"),
];

const note = (entry) => fs.appendFileSync(log, `${JSON.stringify(entry)}\n`);
fs.writeFileSync(log, "");
const server = smpp.createServer({}, (session) => {
  const deliver = (rest) => {
    if (rest.length === 0) return note({ ev: "done" });
    session.deliver_sm({ ...parties, ...rest[0] }, (answer) => {
      note({ ev: "deliver_sm_resp", status: answer.command_status });
      deliver(rest.slice(1));
    });
  };
  session.on("error", () => {});
  session.on("enquire_link", (pdu) => session.send(pdu.response()));
  session.on("unbind", (pdu) => session.send(pdu.response()));
  session.on("bind_transceiver", (pdu) => {
    session.send(pdu.response());
    note({ ev: "bind" });
    if (server.isChecked) deliver(parts); // the first session is the one that checks the account
    server.isChecked = true;
  });
});
server.listen(Number(port), "127.0.0.1");
