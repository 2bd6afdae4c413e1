import GRDB
import HTTPTypes
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

struct ActivityExportTests {
    private static let path = "/v1/organizations/acme/activity"

    /// Makes an organization with many lines, and gives the token of an auditor.
    private func prepare(_ server: AccountsServer, _ names: [String]) async throws -> String {
        try await server.make("acme", ["alice": .owner, "carol": .auditor])
        let token = try await server.signIn("carol", in: nil)
        let now = server.clock.now
        try await server.services.store.database.write { database in
            for name in names {
                try Activity(.teamCreated, by: "alice", name: name, data: [JSONMember("team", .string(name))])
                    .record(in: "acme", at: now, database)
            }
        }
        return token
    }

    @Test(arguments: ["csv", "jsonl"])
    func `all of the activity is exported, the newest first, however much there is`(format: String) async throws {
        try await AccountsServer.with { server in
            let token = try await prepare(server, (0..<1203).map { "team\($0)" })
            let answer = try await server.send(.get, "\(Self.path)?format=\(format)", as: token)
            #expect(answer.status == 200)
            #expect(answer.headers[.contentDisposition] == "attachment; filename=\"activity-acme.\(format)\"")
            let lines = answer.text.split(separator: format == "csv" ? "\r\n" : "\n").map(String.init)
            if format == "csv" {
                #expect(answer.headers[.contentType] == "text/csv; charset=utf-8")
                #expect(lines.first == "number,time,action,actor,name,data")
                #expect(lines.count == 1205)
                #expect(
                    lines[1]
                        == "1204,2026-11-25T13:45:10Z,team.create,alice,team1202,\"{\"\"team\"\":\"\"team1202\"\"}\""
                )
            } else {
                #expect(answer.headers[.contentType] == "application/x-ndjson")
                let names = try lines.map { try StrictJSON.parse(Array($0.utf8)).value(named: "name")?.text }
                #expect(names == (0..<1203).reversed().map { "team\($0)" } + ["carol"])
            }
            // A page in the usual form has the same lines.
            let page = try await server.send(.get, "\(Self.path)?limit=2", as: token)
            #expect(page.json.value(named: "activity")?.elements?.count == 2)
        }
    }

    @Test
    func `what is asked for is exported and nothing else`() async throws {
        try await AccountsServer.with { server in
            let token = try await prepare(server, (0..<20).map { "team\($0)" })
            for (query, count) in [("limit=3", 3), ("name=team7", 1), ("before=11", 10), ("actor=nobody", 0)] {
                let answer = try await server.send(.get, "\(Self.path)?format=csv&\(query)", as: token)
                #expect(answer.text.split(separator: "\r\n").count == count + 1, "\(query)")
            }
            let answer = try await server.send(.get, "\(Self.path)?format=xlsx", as: token)
            #expect(answer.status == 400)
            #expect(answer["detail"] == "\"format\" must be \"json\", \"jsonl\" or \"csv\"")
        }
    }

    @Test(arguments: [
        ("plain", "plain"), ("", ""), ("a,b", "\"a,b\""), ("a\"b", "\"a\"\"b\""), ("a\nb", "\"a\nb\""),
        ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@SUM(A1)", "'@SUM(A1)"), ("\tx", "'\tx"),
        ("\rx", "\"'\rx\""), ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
        ("a=1", "a=1"), ("{\"a\":1}", "\"{\"\"a\"\":1}\""),
    ])
    func `a cell is shown as it is, and computed by no program`(text: String, cell: String) {
        #expect(ActivityFormat.cell(text) == cell)
    }

    @Test
    func `a name that looks like a formula is exported as text`() async throws {
        try await AccountsServer.with { server in
            let token = try await prepare(server, ["=cmd|' /C calc'!A0"])
            let answer = try await server.send(.get, "\(Self.path)?format=csv", as: token)
            #expect(answer.text.contains(",'=cmd|' /C calc'!A0,"))
        }
    }
}
