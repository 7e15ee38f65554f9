// What tedious, the client of JavaScript, does with the embedded server. Started by
// test_clients.py: a line of JSON for each step.
"use strict";

const { readFileSync } = require("fs");
const { Connection, Request, TYPES, ISOLATION_LEVEL } = require("tedious");
const assert = require("assert");

const [port, certificate, userName, password, database] = process.argv.slice(2);
const ca = readFileSync(certificate);

function connect(options, authentication) {
  return new Promise((resolve, reject) => {
    const connection = new Connection({
      server: "localhost",
      authentication: authentication || { type: "default", options: { userName, password } },
      options: { port: Number(port), database, requestTimeout: 20000, ...options },
    });
    connection.on("error", () => {});
    connection.connect((error) => (error ? reject(error) : resolve(connection)));
  });
}

function close(connection) {
  return new Promise((resolve) => {
    connection.once("end", resolve);
    connection.close();
  });
}

function run(connection, sql, parameters = [], method = "execSql") {
  return new Promise((resolve, reject) => {
    const rows = [];
    const request = new Request(sql, (error) => (error ? reject(error) : resolve(rows)));
    request.on("row", (columns) => rows.push(columns.map((column) => column.value)));
    for (const [name, type, value, options] of parameters) {
      request.addParameter(name, type, value, options);
    }
    connection[method](request);
  });
}

const call = (connection, method, ...more) =>
  new Promise((resolve, reject) =>
    connection[method]((error) => (error ? reject(error) : resolve()), ...more));

async function step(name, action) {
  try {
    await action();
    console.log(JSON.stringify({ name, passed: true }));
  } catch (error) {
    console.log(JSON.stringify({ name, passed: false, error: String(error) }));
  }
}

async function main() {
  const ways = {
    "encrypt: false": { encrypt: false },
    "encrypt: true, any certificate": { encrypt: true, trustServerCertificate: true },
    "encrypt: true": { encrypt: true, cryptoCredentialsDetails: { ca } },
    "encrypt: strict": { encrypt: "strict", cryptoCredentialsDetails: { ca } },
    "TDS 7.3": { encrypt: false, tdsVersion: "7_3_B" },
    "TDS 7.2": { encrypt: false, tdsVersion: "7_2" },
  };
  for (const [name, options] of Object.entries(ways)) {
    await step(name, async () => {
      const connection = await connect(options);
      const rows = await run(
        connection, "SELECT 1, N'żółć', REPLICATE(CAST('x' AS varchar(max)), 50000)");
      assert.deepStrictEqual(rows, [[1, "żółć", "x".repeat(50000)]]);
      await close(connection);
    });
  }
  await step("wrong password", () =>
    assert.rejects(
      connect({ encrypt: false },
        { type: "default", options: { userName, password: "wrong" } }),
      /Login failed for user/));
  const byToken = (token) =>
    connect({ encrypt: true, cryptoCredentialsDetails: { ca } },
      { type: "azure-active-directory-access-token", options: { token } });
  await step("access token", async () => {
    const connection = await byToken("tedious-token");
    assert.deepStrictEqual(
      await run(connection, "SELECT SUSER_SNAME()"), [["tedious@example.org"]]);
    await close(connection);
  });
  await step("unknown access token", () =>
    assert.rejects(byToken("unknown"), /token-identified principal/));

  const connection = await connect({ encrypt: true, cryptoCredentialsDetails: { ca } });
  const date = (text) => new Date(text);
  const results = [
    ["CAST(1 AS bit)", true],
    ["CAST(200 AS tinyint)", 200],
    ["CAST(9000000000 AS bigint)", "9000000000"],
    ["CAST(1.5 AS float)", 1.5],
    ["CAST('12.34' AS decimal(18,4))", 12.34],
    ["CAST('-1.25' AS money)", -1.25],
    ["CAST('ab' AS char(5))", "ab   "],
    ["CAST('naïve €' AS varchar(20))", "naïve €"],
    ["N'żółć 🐘'", "żółć 🐘"],
    ["CAST(N't' AS ntext)", "t"],
    ["CAST(0x0102 AS varbinary(max))", Buffer.from([1, 2])],
    ["CAST('2026-11-23' AS date)", date("2026-11-23")],
    ["CAST('2026-11-23 12:34' AS smalldatetime)", date("2026-11-23T12:34Z")],
    ["CAST('2026-11-23 12:34:56.123' AS datetime)", date("2026-11-23T12:34:56.123Z")],
    ["CAST('2026-11-23 12:34:56.12 +02:00' AS datetimeoffset(3))",
      date("2026-11-23T10:34:56.120Z")],
    ["CAST('6F9619FF-8B86-D011-B42D-00C04FC964FF' AS uniqueidentifier)",
      "6F9619FF-8B86-D011-B42D-00C04FC964FF"],
    ["CAST('<a/>' AS xml)", "<a/>"],
    ["CAST(N'v' AS sql_variant)", "v"],
    ["CAST(NULL AS int)", null],
  ];
  for (const [expression, value] of results) {
    await step(expression, async () => {
      const rows = await run(connection, `SELECT ${expression} AS c`);
      assert.strictEqual(JSON.stringify(rows), JSON.stringify([[value]]));
    });
  }
  const parameters = [
    ["Bit", true], ["TinyInt", 3], ["SmallInt", 3], ["Int", 3], ["BigInt", "9000000000"],
    ["Float", 1.5], ["Real", 0.25], ["Decimal", 12.34, { precision: 18, scale: 4 }],
    ["Money", 1.25], ["VarChar", "naïve"], ["NVarChar", "żółć 🐘"],
    ["NVarChar", "ż".repeat(9000)], ["NChar", "ab   ", { length: 5 }], ["NText", "t"],
    ["VarBinary", Buffer.from([1, 2])], ["Binary", Buffer.from([1, 2]), { length: 2 }],
    ["Date", date("2026-11-23")], ["DateTime", date("2026-11-23T12:34:56.123Z")],
    ["DateTime2", date("2026-11-23T12:34:56.123Z")],
    ["DateTimeOffset", date("2026-11-23T12:34:56.123Z")],
    ["UniqueIdentifier", "6F9619FF-8B86-D011-B42D-00C04FC964FF"],
    ["Int", null], ["NVarChar", null],
  ];
  for (const [type, value, options] of parameters) {
    await step(`parameter ${type}`, async () => {
      const rows = await run(
        connection, "SELECT @p AS c", [["p", TYPES[type], value, options]]);
      assert.strictEqual(JSON.stringify(rows), JSON.stringify([[value]]));
    });
  }
  await step("output parameter", async () => {
    const value = await new Promise((resolve, reject) => {
      let returned;
      const request = new Request(
        "SET @o = 5", (error) => (error ? reject(error) : resolve(returned)));
      request.addOutputParameter("o", TYPES.Int, 1);
      request.on("returnValue", (_name, seen) => { returned = seen; });
      connection.execSql(request);
    });
    assert.strictEqual(value, 5);
  });
  await step("prepared statement", async () => {
    const rows = [];
    await new Promise((resolve, reject) => {
      let executed = false;
      const request = new Request("SELECT @p AS c", (error) => {
        if (error) return reject(error);
        if (executed) return resolve();
        executed = true;
        return setImmediate(() => connection.unprepare(request));
      });
      request.addParameter("p", TYPES.Int);
      request.on("row", (columns) => rows.push(columns[0].value));
      request.once("prepared", () => setImmediate(() => connection.execute(request, { p: 4 })));
      connection.prepare(request);
    });
    assert.deepStrictEqual(rows, [4]);
  });
  await step("transaction", async () => {
    await run(connection, "CREATE TABLE dbo.tedious (id int PRIMARY KEY)", [], "execSqlBatch");
    await call(connection, "beginTransaction", "t", ISOLATION_LEVEL.READ_COMMITTED);
    await run(connection, "INSERT INTO dbo.tedious VALUES (1)");
    await call(connection, "saveTransaction", "s");
    await run(connection, "INSERT INTO dbo.tedious VALUES (2)");
    await call(connection, "rollbackTransaction", "s");
    await call(connection, "commitTransaction");
    await call(connection, "beginTransaction");
    await run(connection, "INSERT INTO dbo.tedious VALUES (3)");
    await call(connection, "rollbackTransaction");
    assert.deepStrictEqual(await run(connection, "SELECT id FROM dbo.tedious"), [[1]]);
  });
  await step("error", () =>
    assert.rejects(run(connection, "SELECT * FROM nowhere"), /Invalid object name/));
  await step("cancel", async () => {
    await assert.rejects(new Promise((resolve, reject) => {
      const request = new Request(
        "WAITFOR DELAY '00:00:20'", (error) => (error ? reject(error) : resolve()));
      request.once("requestCompleted", resolve);
      connection.execSqlBatch(request);
      setTimeout(() => connection.cancel(), 200);
    }), /Canceled/);
    assert.deepStrictEqual(await run(connection, "SELECT 6"), [[6]]);
  });
  await step("bulk load is refused", async () => {
    await assert.rejects(new Promise((resolve, reject) => {
      const load = connection.newBulkLoad(
        "dbo.tedious", (error) => (error ? reject(error) : resolve()));
      load.addColumn("id", TYPES.Int, { nullable: false });
      connection.execBulkLoad(load, [{ id: 9 }]);
    }), /INSERT BULK.*not supported/);
    assert.deepStrictEqual(await run(connection, "SELECT 7"), [[7]]);
  });
  await step("reset", async () => {
    await call(connection, "reset");
    assert.deepStrictEqual(await run(connection, "SELECT 8"), [[8]]);
  });
  await close(connection);
  await step("end", () => {});
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
