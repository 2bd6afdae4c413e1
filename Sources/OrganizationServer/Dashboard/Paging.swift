/// A part of a long list.
struct Paging {
    let count: Int
    let page: Int
    let pages: Int

    /// So many entries of a list are shown on a page: more are not seen at once, and each has a browser work longer before
    /// it shows any.
    static let size = 25

    /// A page of a list.
    ///
    /// - Parameters:
    ///   - count: how many entries the list has.
    ///   - page: the wanted page, from 1 on; the nearest if there is none such.
    init(count: Int, page: Int) {
        self.count = count
        pages = max(1, (count + Self.size - 1) / Self.size)
        self.page = min(max(1, page), pages)
    }

    /// The elements of the page.
    var range: Range<Int> { min((page - 1) * Self.size, count)..<min(page * Self.size, count) }

    /// What the template names.
    func content(_ address: (Int) -> String) -> [String: Any] {
        var content: [String: Any] = [
            "isLong": pages > 1, "page": page, "pages": pages, "from": range.lowerBound + 1, "to": range.upperBound,
            "count": Dashboard.digits(count),
        ]
        if page > 1 {
            content["previous"] = address(page - 1)
            content["first"] = address(1)
        }
        if page < pages {
            content["next"] = address(page + 1)
            content["last"] = address(pages)
        }
        return content
    }
}
