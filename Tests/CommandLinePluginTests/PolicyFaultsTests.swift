import RegistryAccess
import Testing

@testable import CommandLinePlugin

struct PolicyFaultsTests {
    private func places(_ text: String) -> [String] {
        PolicyFaults.all(in: Array(text.utf8)).map { "\($0.line):\($0.column)" }
    }

    @Test
    func `every fault is found at its place`() {
        let text = """
            {
              "version": 0,
              "organisation": "acme", "mode": "hard",
              "registries": [
                { "address": "docker.io", "allowed": true }, { "address": "gh cr.io", "allowed": true },
                {
                  "address": "ghcr.io",
                  "allowed": "yes"
                }, { "allowed": true }
              ]
            }
            """
        #expect(places(text) == ["2:14", "3:3", "3:35", "5:63", "8:18", "9:8"])
    }

    @Test(arguments: [
        "{\"version\":1,\"organization\":\"a\",\"registries\":[{\"address\":\"a b\",\"allowed\":true}]}",
        "{\n\"version\":1,\n\"organization\":\"\",\n\"registries\":[]}",
        "{\"version\":1,\"organization\":\"a\",\"registries\":[],\r\n  \"x\": 1}",
        "\n\n  {\"version\": -1,\"organization\":\"a\",\"registries\":[]}",
    ])
    func `a single fault stands where the reader of policies finds it`(text: String) throws {
        let error = try #require(throws: InvalidPolicy.self) { try AccessPolicy(json: Array(text.utf8)) }
        let faults = PolicyFaults.all(in: Array(text.utf8))
        #expect(faults == [error])
    }

    @Test(arguments: [Machine.policy, "{", "[]", "1", "", "{\"version\":1}"])
    func `nothing is made up`(text: String) {
        #expect(places(text) == [])
    }

    @Test
    func `a policy in order that others may write is said not to be used`() throws {
        try Machine.with { (machine) throws in
            let path = "\(machine.root)/etc/docker-ram/policy.json"
            #expect(machine.run(["policy", "validate", path]).code == 0)
            try machine.write(Machine.policy, "root/etc/docker-ram/policy.json", mode: 0o666)
            let outcome = machine.run(["policy", "validate", path])
            #expect(outcome.code == 1)
            #expect(outcome.errors.contains("this machine does not use the file: \"\(path)\" can be written by others"))
        }
    }
}
