"""T-SQL for the tests of the parser: a statement or expression for every rule of the
grammar, and what SQL Server refuses.
"""

from __future__ import annotations

EXPRESSIONS = """
    1
    -1
    1.5
    .5
    1.
    1e5
    1E-5
    1.5e+10
    1e
    0x
    0x1F
    0X1f
    0xABC
    $1
    $1.50
    $-2
    $ 3
    £4.25
    €
    'a'
    'it''s'
    ''
    ''''
    N'a'
    n'żółć'
    N''
    NULL
    DEFAULT
    a
    [a]
    "a"
    [a]]b]
    "a""b"
    [a b].[c.d]
    #t.a
    a.b
    a.b.c
    a.b.c.d
    a..b
    db..t.c
    t.*
    s.t.*
    db.s.t.*
    t.select
    t.[from]
    t.order
    żółć
    _a1$#@
    date
    text
    key_column
    offset
    rows
    output
    first
    apply
    matched
    @a
    @P1
    @a_b#$
    @@ROWCOUNT
    @@version
    a + b
    a - b - c
    a - (b - c)
    a * b / c % d
    a + b * c - d / e
    a & b | c ^ d
    a + b & c - d | e
    a * b + c * d
    -a
    - -a
    +a
    + + a
    ~a
    ~-a
    -a * b
    -(a + b)
    a - -b
    a+-b
    (a)
    ((a))
    ((1 + 2) * 3)
    (SELECT 1)
    ((SELECT 1))
    (SELECT MAX(a) FROM t) + 1
    (WITH c AS (SELECT 1 AS x) SELECT x FROM c)
    a COLLATE Latin1_General_100_BIN2
    a COLLATE [Latin1_General_CI_AS]
    a + b COLLATE Polish_CI_AS
    -a COLLATE Polish_CI_AS
    'a' COLLATE Polish_CI_AS + 'b'
    a AT TIME ZONE 'UTC'
    a AT TIME ZONE 'UTC' AT TIME ZONE 'Central European Standard Time'
    a * b AT TIME ZONE 'UTC'
    CAST(a AS datetime2) AT TIME ZONE @z
    f(a) COLLATE X AT TIME ZONE 'UTC'
    CASE WHEN a = 1 THEN 2 END
    CASE WHEN a = 1 OR b = 2 THEN 2 WHEN c IS NULL THEN 3 ELSE 4 END
    CASE a WHEN 1 THEN 'x' WHEN 2 THEN 'y' ELSE 'z' END
    CASE a + 1 WHEN b THEN c END
    CASE WHEN NOT a = 1 THEN CASE WHEN b = 2 THEN 3 END ELSE 5 END
    CASE WHEN EXISTS (SELECT 1) THEN 1 ELSE 0 END
    CAST(a AS int)
    CAST(a AS nvarchar)
    CAST(a AS nvarchar(max))
    CAST(a AS varchar(30))
    CAST(a AS decimal(10, 2))
    CAST(a AS numeric(8))
    CAST(a AS dec)
    CAST(a AS float)
    CAST(a AS float(24))
    CAST(a AS real)
    CAST(a AS double precision)
    CAST(a AS national character varying(10))
    CAST(a AS national char(10))
    CAST(a AS char varying(10))
    CAST(a AS binary varying(10))
    CAST(a AS datetime2(3))
    CAST(a AS datetimeoffset)
    CAST(a AS time(0))
    CAST(a AS [int])
    CAST(a AS sys.nvarchar(5))
    CAST(a AS sysname)
    CAST(a AS timestamp)
    CAST(a + b * c AS bigint)
    CAST(CAST(a AS int) AS bit)
    CAST((SELECT 1) AS uniqueidentifier)
    TRY_CAST(a AS date)
    try_cast(a as XML)
    CONVERT(int, a)
    CONVERT(nvarchar(30), a, 121)
    CONVERT(varchar, a, @style + 1)
    TRY_CONVERT(datetime, 'x', 103)
    convert(varbinary(max), N'x')
    {d '2020-01-31'}
    {t '10:20:30'}
    {ts '2020-01-31 10:20:30'}
    {fn NOW()}
    {fn UCASE(a)}
    {fn LENGTH(a)}
    {fn CONCAT(a, b)}
    {fn IFNULL(a, {fn UCASE(b)})}
    f()
    f(a)
    f(a, b, c)
    [f](a)
    dbo.f(a)
    [dbo].[f](a, 1)
    dbo.f(DISTINCT a)
    COUNT(*)
    count(*)
    COUNT_BIG(*)
    COUNT(ALL a)
    COUNT(DISTINCT a)
    SUM(DISTINCT a + b)
    GETDATE()
    SYSDATETIME()
    ISNULL(a, b)
    COALESCE(a, b, c)
    NULLIF(a, b)
    LEFT(a, 1)
    right(a, 1)
    IDENTITY(int, 1, 1)
    REPLACE(a, 'x', N'y')
    IIF(a > 1, b, c)
    IIF(a IS NULL AND b = 1, 1, 0)
    CHOOSE(1, a, b)
    DATEPART(weekday, a)
    DATEADD(day, -1, a)
    DATEDIFF_BIG(ms, a, b)
    DATENAME(dw, a)
    CURRENT_TIMESTAMP
    CURRENT_USER
    USER
    SYSTEM_USER
    SESSION_USER
    current_timestamp
    TRIM(a)
    TRIM('x' FROM a)
    TRIM(' ' + 'x' FROM LTRIM(a))
    JSON_OBJECT()
    JSON_OBJECT('a': 1)
    JSON_OBJECT('a': b, 'c': JSON_ARRAY(1, 2 NULL ON NULL) ABSENT ON NULL)
    JSON_ARRAY(1, 'a', NULL NULL ON NULL)
    JSON_VALUE(a, '$.b')
    LAST_VALUE(a) OVER (ORDER BY b)
    ROW_NUMBER() OVER (ORDER BY a DESC, b ASC, c)
    SUM(a) OVER ()
    SUM(a) OVER (PARTITION BY b)
    SUM(a) OVER (PARTITION BY b, c + 1 ORDER BY d)
    SUM(a) OVER (ORDER BY b ROWS 2 PRECEDING)
    SUM(a) OVER (ORDER BY b ROWS UNBOUNDED PRECEDING)
    SUM(a) OVER (ORDER BY b ROWS CURRENT ROW)
    SUM(a) OVER (ORDER BY b ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)
    SUM(a) OVER (ORDER BY b RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    SUM(a) OVER (ORDER BY b ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)
    STRING_AGG(a, ',')
    STRING_AGG(a, ',') WITHIN GROUP (ORDER BY b DESC)
    PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY a) OVER (PARTITION BY b)
    LAG(a, 1, 0) OVER (ORDER BY b) + 1
    a /* a /* nested */ comment */ + b -- and
    f /* x */ (a)
"""

CONDITIONS = """
    a = 1
    a <> 1
    a != 1
    a < 1
    a <= 1
    a > 1
    a >= 1
    a !< 1
    a !> 1
    a=b
    a=-1
    a<-1
    a + 1 = b * 2
    a = 'x' COLLATE Latin1_General_BIN
    (a = 1)
    ((a = 1))
    NOT a = 1
    NOT NOT a = 1
    NOT (a = 1 OR b = 2)
    a = 1 AND b = 2
    a = 1 AND b = 2 AND c = 3
    a = 1 AND b = 2 AND c = 3 AND d = 4 AND e = 5
    a = 1 OR b = 2 OR c = 3
    a = 1 OR b = 2 AND c = 3 OR NOT d = 4
    (a = 1 OR b = 2) AND c = 3
    a IS NULL
    a IS NOT NULL
    NOT a IS NULL
    a + b IS NULL
    a IN (1)
    a IN (1, 2, 3)
    a NOT IN (1, 2)
    a IN (b + 1, (SELECT 2), NULL)
    a IN (SELECT b FROM t)
    a IN ((SELECT b FROM t))
    a NOT IN (SELECT b FROM t WHERE t.c = a)
    a IN (SELECT 1 UNION SELECT 2)
    (a) IN (1)
    a BETWEEN 1 AND 2
    a NOT BETWEEN 1 AND 2
    a BETWEEN b - 1 AND b + 1 AND c = 1
    a BETWEEN 1 AND 2 OR a BETWEEN 3 AND 4
    a LIKE 'x%'
    a NOT LIKE 'x%'
    a LIKE 'x!%' ESCAPE '!'
    a LIKE '%' + b + '%' ESCAPE @e
    a COLLATE X LIKE N'y' AND b = 1
    EXISTS (SELECT 1)
    NOT EXISTS (SELECT * FROM t WHERE t.a = b)
    EXISTS ((SELECT 1))
    a = ANY (SELECT 1)
    a > ALL (SELECT b FROM t)
    a <> SOME (SELECT 1)
    a = (SELECT 1)
    (SELECT COUNT(*) FROM t) > 1
    CASE WHEN a = 1 THEN 1 ELSE 0 END = 1
    f(a) = 1 AND dbo.g(b) = 'x'
    @a = 1 AND @@TRANCOUNT > 0
    a.b = c.d AND [x y].[z] = 1
    CURRENT_TIMESTAMP > a
"""

QUERIES = """
    SELECT 1
    SELECT 1, 2, 3
    SELECT 'a' 'b'
    SELECT 1a
    SELECT .5a, 1.5b
    SELECT 0x1Fg
    SELECT*FROM t
    SELECT a FROM t
    select A from T
    SELECT ALL a FROM t
    SELECT DISTINCT a, b FROM t
    SELECT TOP 5 a FROM t
    SELECT TOP (5) a FROM t
    SELECT TOP (@n + 1) a FROM t
    SELECT TOP @n a FROM t
    SELECT DISTINCT TOP 5 a FROM t
    SELECT * FROM t
    SELECT t.*, u.a FROM t, u
    SELECT a AS b FROM t
    SELECT a b FROM t
    SELECT a AS [b c] FROM t
    SELECT a AS 'b c' FROM t
    SELECT a 'b c' FROM t
    SELECT a AS N'b' FROM t
    SELECT b = a FROM t
    SELECT [b c] = a + 1, 'd' = 2 FROM t
    SELECT a AS date, b AS offset, c rows, d output FROM t
    SELECT a + b AS c, COUNT(*) n FROM t
    SELECT @a = 1
    SELECT @a = b, @c = d + 1 FROM t
    SELECT @a += 1, @b -= 2, @c *= 3, @d /= 4, @e %= 5
    SELECT @a
    SELECT @@IDENTITY, @@ROWCOUNT AS n
    SELECT a INTO #x FROM t
    SELECT a INTO dbo.x FROM t WHERE a = 1
    SELECT a FROM dbo.t
    SELECT a FROM db.dbo.t
    SELECT a FROM db..t
    SELECT a FROM tempdb..#t
    SELECT a FROM #t
    SELECT a FROM ##t
    SELECT a FROM @t
    SELECT a FROM @t AS x
    SELECT a FROM t AS x
    SELECT a FROM t x
    SELECT a FROM [t] [x y]
    SELECT a FROM t WITH (NOLOCK)
    SELECT a FROM t x WITH (UPDLOCK, ROWLOCK, READPAST)
    SELECT a FROM t AS x WITH (INDEX(i), NOWAIT)
    SELECT a FROM t WITH (INDEX = i, HOLDLOCK)
    SELECT a FROM t WITH (INDEX(1, [i j]) NOLOCK)
    SELECT a FROM t WITH (FORCESEEK(i(a, b)))
    SELECT a FROM t (NOLOCK)
    SELECT a FROM t (UPDLOCK) x WITH (ROWLOCK)
    SELECT a FROM t, u
    SELECT a FROM t x, u y, v
    SELECT a FROM t JOIN u ON t.a = u.a
    SELECT a FROM t INNER JOIN u ON t.a = u.a
    SELECT a FROM t LEFT JOIN u ON t.a = u.a
    SELECT a FROM t LEFT OUTER JOIN u ON t.a = u.a
    SELECT a FROM t RIGHT OUTER JOIN u ON t.a = u.a
    SELECT a FROM t FULL OUTER JOIN u ON t.a = u.a AND u.b = 1
    SELECT a FROM t FULL JOIN u ON (t.a = u.a)
    SELECT a FROM t CROSS JOIN u
    SELECT a FROM t INNER LOOP JOIN u ON t.a = u.a
    SELECT a FROM t LEFT HASH JOIN u ON t.a = u.a
    SELECT a FROM t INNER MERGE JOIN u ON 1 = 1
    SELECT a FROM t JOIN u ON t.a = u.a JOIN v ON u.b = v.b
    SELECT a FROM t JOIN u JOIN v ON u.b = v.b ON t.a = u.a
    SELECT a FROM t LEFT JOIN u INNER JOIN v CROSS JOIN w ON u.b = v.b ON t.a = u.a
    SELECT a FROM t LEFT JOIN u CROSS APPLY (SELECT 1 b) v INNER JOIN w ON u.b = w.b ON t.a = u.a
    SELECT a FROM t LEFT JOIN (u JOIN v ON u.b = v.b) ON t.a = u.a
    SELECT a FROM (t CROSS JOIN u) JOIN (v JOIN w ON 1 = 1) ON 2 = 2
    SELECT a FROM ((t))
    SELECT a FROM t, u JOIN v ON 1 = 1, w
    SELECT a FROM t JOIN u ON 1 = 1, v JOIN w ON 2 = 2
    SELECT a FROM t CROSS APPLY (SELECT TOP 1 * FROM u WHERE u.a = t.a) x
    SELECT a FROM t OUTER APPLY (SELECT 1 AS b) AS x WHERE x.b = 1
    SELECT a FROM t CROSS APPLY OPENJSON(t.j) x
    SELECT * FROM OPENJSON(@j)
    SELECT * FROM OPENJSON(@j, '$.a') AS x
    SELECT * FROM OPENJSON(@j) WITH (a int, b nvarchar(max) '$.b', c nvarchar(max) AS JSON) x
    SELECT * FROM OPENJSON(@j) WITH (a int '$.a' , d nvarchar(max) '$.d' AS JSON)
    SELECT * FROM STRING_SPLIT(@s, ',') AS s
    SELECT * FROM STRING_SPLIT(@s, ',', 1) s (v, o)
    SELECT value FROM GENERATE_SERIES(1, 10)
    SELECT * FROM (SELECT 1 AS a) x
    SELECT * FROM (SELECT 1, 2) AS x (a, b)
    SELECT * FROM (SELECT 1 a UNION ALL SELECT 2) x
    SELECT * FROM ((SELECT 1 a)) x
    SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS x (a, b)
    SELECT * FROM (VALUES (1)) x (a) JOIN t ON t.a = x.a
    SELECT a FROM t WHERE a = 1
    SELECT a FROM t WHERE a = 1 GROUP BY a HAVING COUNT(*) > 1 ORDER BY a
    SELECT a, COUNT(*) FROM t GROUP BY a, b + 1, YEAR(c)
    SELECT COUNT(*) FROM t HAVING COUNT(*) > 1
    SELECT a FROM t ORDER BY a
    SELECT a FROM t ORDER BY a ASC, b DESC, 3, c + 1 DESC
    SELECT a FROM t ORDER BY CASE WHEN a IS NULL THEN 1 ELSE 0 END, a COLLATE X DESC
    SELECT a FROM t ORDER BY (SELECT NULL) OFFSET 0 ROWS
    SELECT a FROM t ORDER BY a OFFSET 1 ROW FETCH FIRST 1 ROW ONLY
    SELECT a FROM t ORDER BY a OFFSET @o ROWS FETCH NEXT @n ROWS ONLY
    SELECT a FROM t ORDER BY a OFFSET (1 + 1) ROWS FETCH NEXT (SELECT 3) ROWS ONLY
    SELECT a FROM t OPTION (RECOMPILE)
    SELECT a FROM t ORDER BY a OPTION (MAXDOP 1, OPTIMIZE FOR (@a = 1), HASH GROUP, FORCE ORDER)
    SELECT 1 UNION SELECT 2
    SELECT 1 UNION ALL SELECT 2 UNION SELECT 3
    SELECT 1 EXCEPT SELECT 2 INTERSECT SELECT 3
    SELECT 1 INTERSECT SELECT 2 UNION SELECT 3 INTERSECT SELECT 4
    (SELECT 1) UNION (SELECT 2)
    (SELECT 1 UNION SELECT 2) EXCEPT (SELECT 3)
    ((SELECT 1))
    (SELECT a FROM t ORDER BY a OFFSET 1 ROWS) UNION ALL SELECT 1
    SELECT 1 AS a UNION ALL SELECT 2 ORDER BY a
    SELECT 1 a UNION SELECT 2 ORDER BY 1 DESC OFFSET 1 ROWS FETCH NEXT 1 ROWS ONLY
    WITH c AS (SELECT 1 AS a) SELECT a FROM c
    WITH c (a, b) AS (SELECT 1, 2), d AS (SELECT * FROM c) SELECT * FROM d, c
    WITH c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < 9) \
        SELECT n FROM c OPTION (MAXRECURSION 9)
    WITH [c d] ([e f]) AS (SELECT 1) (SELECT * FROM [c d])
    WITH c AS (SELECT 1 a) SELECT a FROM c UNION SELECT 2 ORDER BY a
    WITH c AS ((SELECT 1 a) UNION (SELECT 2)) SELECT 1 WHERE EXISTS (SELECT * FROM c)
    SELECT (SELECT TOP 1 a FROM t ORDER BY a) AS a, (SELECT 1) + 1
    SELECT a FROM t WHERE a = (SELECT MAX(b) FROM u WHERE u.c = t.c)
    SELECT a /* c1 */ FROM /* c2 /* c3 */ */ t -- c4
"""

MODIFICATIONS = """
    INSERT INTO t VALUES (1)
    INSERT t VALUES (1)
    INSERT INTO dbo.t (a) VALUES (1)
    INSERT INTO [t] ([a], [b c]) VALUES (1, N'x'), (2, DEFAULT), (NULL, @p)
    INSERT INTO t DEFAULT VALUES
    INSERT INTO t OUTPUT inserted.a DEFAULT VALUES
    INSERT INTO t (a) OUTPUT inserted.a, inserted.b AS c VALUES (1)
    INSERT INTO t (a) OUTPUT inserted.* INTO @t VALUES (1)
    INSERT INTO t (a) OUTPUT inserted.a INTO #x (b, c) VALUES (1)
    INSERT INTO t SELECT 1
    INSERT INTO t (a, b) SELECT a, b FROM u WHERE a = 1
    INSERT INTO t (a) (SELECT 1)
    INSERT INTO t (SELECT 1)
    INSERT INTO t (a) SELECT 1 UNION ALL SELECT 2 ORDER BY 1
    INSERT INTO t WITH (TABLOCK) (a) SELECT 1
    INSERT TOP (5) INTO t SELECT a FROM u
    INSERT INTO @t (a) VALUES (1)
    INSERT INTO #t VALUES ((SELECT 1), f(2) + 3)
    INSERT INTO t (a) WITH c AS (SELECT 1 x) SELECT x FROM c
    INSERT INTO t (a) VALUES (1) OPTION (RECOMPILE)
    WITH c AS (SELECT 1 AS a) INSERT INTO t (a) SELECT a FROM c
    UPDATE t SET a = 1
    UPDATE dbo.t SET a = 1, b = b + 1, [c d] = N'x'
    UPDATE t SET a = DEFAULT, b = NULL WHERE c = 1
    UPDATE t SET t.a = 1, s.t.b = 2
    UPDATE t SET a += 1, b -= 2, c *= 3, d /= 4, e %= 5
    UPDATE TOP (5) t SET a = 1
    UPDATE t WITH (ROWLOCK) SET a = 1
    UPDATE t SET a = 1 OUTPUT inserted.a, deleted.a AS b WHERE c = 1
    UPDATE t SET a = 1 OUTPUT deleted.* INTO @x
    UPDATE x SET a = u.a FROM t AS x INNER JOIN u ON u.b = x.b WHERE u.c = 1
    UPDATE t SET a = (SELECT MAX(b) FROM u WHERE u.c = t.c) FROM t, v
    UPDATE t SET a = CASE WHEN b = 1 THEN 2 ELSE a END WHERE EXISTS (SELECT 1 FROM u)
    UPDATE @t SET a = 1
    UPDATE t SET a = 1 OPTION (MAXDOP 1)
    WITH c AS (SELECT TOP 1 * FROM t) UPDATE c SET a = 1
    DELETE FROM t
    DELETE t
    DELETE FROM t WHERE a = 1
    DELETE TOP (5) FROM t WHERE a IN (SELECT b FROM u)
    DELETE FROM t WITH (TABLOCKX)
    DELETE x FROM t x JOIN u ON x.a = u.a WHERE u.b = 1
    DELETE FROM x FROM t AS x
    DELETE FROM t OUTPUT deleted.a, deleted.b INTO @x (c, d) WHERE a = 1
    DELETE FROM t OUTPUT deleted.*
    DELETE FROM @t
    WITH c AS (SELECT * FROM t) DELETE FROM c WHERE a = 1
    MERGE t USING u ON t.a = u.a WHEN MATCHED THEN DELETE;
    MERGE INTO dbo.t AS x USING u AS y ON x.a = y.a WHEN MATCHED THEN UPDATE SET b = y.b, c += 1;
    MERGE t x USING (SELECT 1 AS a) y ON x.a = y.a WHEN NOT MATCHED THEN INSERT (a) VALUES (y.a);
    MERGE t USING (VALUES (1, 2)) v (a, b) ON t.a = v.a \
        WHEN NOT MATCHED BY TARGET AND v.b > 1 THEN INSERT VALUES (v.a, v.b);
    MERGE t WITH (HOLDLOCK) AS x USING u ON x.a = u.a \
        WHEN NOT MATCHED BY SOURCE AND x.b = 1 THEN DELETE \
        WHEN NOT MATCHED THEN INSERT DEFAULT VALUES \
        WHEN MATCHED AND x.b <> u.b THEN UPDATE SET b = u.b OUTPUT inserted.a, deleted.a;
    MERGE TOP (5) t USING u ON t.a = u.a WHEN MATCHED THEN DELETE OUTPUT deleted.a INTO @x (a);
    WITH c AS (SELECT 1 a) MERGE t USING c ON t.a = c.a WHEN MATCHED THEN DELETE;
"""

#: What is refused: the statement, the number of the error, and the line it is reported on.
REFUSED = [
    ("SELECT a FROM t LIMIT 10", 102, 1),
    ("SELECT a FROM t ORDER BY a LIMIT 10", 102, 1),
    ("SELECT a FROM t LIMIT 10 OFFSET 5", 102, 1),
    ("SELECT a || b FROM t", 102, 1),
    ("SELECT a FROM t WHERE a || b = 'x'", 102, 1),
    ("SELECT a FROM t QUALIFY ROW_NUMBER() OVER (ORDER BY a) = 1", 102, 1),
    ("SELECT a FROM t WHERE a ILIKE 'x'", 4145, 1),
    ("SELECT a FROM t WHERE a RLIKE 'x'", 4145, 1),
    ("SELECT a::int FROM t", 40517, 1),
    ("SELECT 1::int", 102, 1),
    ("SELECT 'a'::int", 102, 1),
    ("SELECT a FROM t USING (b)", 102, 1),
    ("SELECT a FROM t JOIN u USING (b)", 102, 1),
    ("SELECT a FROM t NATURAL JOIN u", 102, 1),
    ("SELECT a FROM t JOIN u", 102, 1),
    ("SELECT a FROM t JOIN u WHERE a = 1", 156, 1),
    ("SELECT a FROM t LEFT SEMI JOIN u ON 1 = 1", 102, 1),
    ("SELECT a AS select FROM t", 156, 1),
    ("SELECT a user FROM t", 156, 1),
    ("SELECT a plan FROM t", 156, 1),
    ("SELECT a FROM order", 156, 1),
    ("SELECT a FROM t AS group", 156, 1),
    ("SELECT a FROM t user", 156, 1),
    ("SELECT FROM t", 156, 1),
    ("SELECT", 156, 1),
    ("SELECT a,", 102, 1),
    ("SELECT a, FROM t", 156, 1),
    ("SELECT a,, b", 102, 1),
    ("SELECT , a", 102, 1),
    ("SELECT a FROM", 156, 1),
    ("SELECT a FROM t WHERE", 156, 1),
    ("SELECT a FROM t WHERE a", 4145, 1),
    ("SELECT a FROM t WHERE a + 1", 4145, 1),
    ("SELECT a FROM t WHERE (a)", 4145, 1),
    ("SELECT a FROM t WHERE a = ", 102, 1),
    ("SELECT a FROM t WHERE a = 1 AND", 156, 1),
    ("SELECT a FROM t WHERE a NOT NULL", 4145, 1),
    ("SELECT a FROM t WHERE a ISNULL", 4145, 1),
    ("SELECT a FROM t WHERE a IS 1", 102, 1),
    ("SELECT a FROM t WHERE a IS TRUE", 102, 1),
    ("SELECT a FROM t WHERE a == 1", 102, 1),
    ("SELECT a FROM t WHERE a <=> 1", 102, 1),
    ("SELECT a FROM t WHERE a IN ()", 102, 1),
    ("SELECT a FROM t WHERE a IN 1", 102, 1),
    ("SELECT a FROM t WHERE a IN (1, 2", 102, 1),
    ("SELECT a FROM t WHERE a BETWEEN 1, 2", 102, 1),
    ("SELECT a FROM t WHERE a BETWEEN SYMMETRIC 1 AND 2", 102, 1),
    ("SELECT a FROM t WHERE a LIKE ANY ('x')", 156, 1),
    ("SELECT a FROM t WHERE EXISTS SELECT 1", 156, 1),
    ("SELECT a FROM t WHERE (a, b) = (1, 2)", 102, 1),
    ("SELECT (1, 2)", 102, 1),
    ("SELECT ()", 102, 1),
    ("SELECT (1", 102, 1),
    ("SELECT 1)", 102, 1),
    ("SELECT a[1] FROM t GROUP BY a[1] x", 102, 1),
    ("SELECT a -> b FROM t", 102, 1),
    ("SELECT a ->> 'b' FROM t", 102, 1),
    ("SELECT a ** b", 102, 1),
    ("SELECT a << 1", 102, 1),
    ("SELECT a >> 1", 102, 1),
    ("SELECT 7 DIV 2", 102, 1),
    ("SELECT NOT a", 156, 1),
    ("SELECT a = b = c", 102, 1),
    ("SELECT a AND b", 156, 1),
    ("SELECT 'a' 'b' 'c'", 102, 1),
    ("SELECT DATE '2020-01-01' x", 102, 1),
    ("SELECT INTERVAL '1' DAY", 102, 1),
    ("SELECT INTERVAL 1 DAY", 102, 1),
    ("SELECT EXTRACT(YEAR FROM a)", 156, 1),
    ("SELECT CAST(a, int)", 102, 1),
    ("SELECT CAST(a AS int", 102, 1),
    ("SELECT CAST(a int)", 102, 1),
    ("SELECT CAST(a AS)", 102, 1),
    ("SELECT CAST(a AS nonesuch)", 2715, 1),
    ("SELECT CAST(a AS nvarchar(5000))", 102, 1),
    ("SELECT CAST(a AS decimal(39, 0))", 102, 1),
    ("SELECT CAST(a AS int) FORMAT 'x'", 102, 1),
    ("SELECT CONVERT(a USING utf8)", 2715, 1),
    ("SELECT CONVERT(int a)", 102, 1),
    ("SELECT CASE END", 156, 1),
    ("SELECT CASE a END", 156, 1),
    ("SELECT CASE WHEN a = 1 2 END", 102, 1),
    ("SELECT CASE WHEN a = 1 THEN 2", 102, 1),
    ("SELECT CASE WHEN a = 1 THEN 2 ELSE", 156, 1),
    ("SELECT f(a,)", 102, 1),
    ("SELECT f(,a)", 102, 1),
    ("SELECT f(a", 102, 1),
    ("SELECT f(a b)", 102, 1),
    ("SELECT COUNT(a) FILTER (WHERE a = 1)", 156, 1),
    ("SELECT SUM(a) OVER ORDER BY b", 156, 1),
    ("SELECT SUM(a) OVER (ORDER b)", 156, 1),
    ("SELECT SUM(a) OVER (ORDER BY b ROWS BETWEEN 1 PRECEDING)", 102, 1),
    ("SELECT STRING_AGG(a, ',' ORDER BY b)", 156, 1),
    ("SELECT CURRENT_TIMESTAMP()", 102, 1),
    ("SELECT a FROM t GROUP a", 102, 1),
    ("SELECT a FROM t ORDER BY a NULLS FIRST", 102, 1),
    ("SELECT a FROM t ORDER BY", 156, 1),
    ("SELECT a FROM t ORDER BY a OFFSET 5", 102, 1),
    ("SELECT a FROM t OFFSET 5 ROWS", 102, 1),
    ("SELECT a FROM t ORDER BY a OFFSET 5 ROWS FETCH 5 ROWS ONLY", 102, 1),
    ("SELECT a FROM t ORDER BY a WHERE b = 1", 156, 1),
    ("SELECT a FROM t GROUP BY a WHERE b = 1", 156, 1),
    ("SELECT a WHERE b = 1 FROM t", 156, 1),
    ("SELECT a FROM t HAVING a = 1 GROUP BY a", 156, 1),
    ("SELECT a FROM t WHERE a = 1 WHERE b = 1", 156, 1),
    ("SELECT TOP 5 DISTINCT a FROM t", 156, 1),
    ("SELECT DISTINCT ON (a) a FROM t", 156, 1),
    ("SELECT DISTINCT ALL a FROM t", 156, 1),
    ("SELECT AS STRUCT 1 a", 156, 1),
    ("SELECT * EXCEPT (a) FROM t", 102, 1),
    ("SELECT * REPLACE (1 AS a) FROM t", 102, 1),
    ("SELECT a FROM t TABLESAMPLE (10 PERCENT)", 40517, 1),
    ("SELECT a FROM t FOR UPDATE", 156, 1),
    ("SELECT a FROM t FOR XML PATH", 40517, 1),
    ("SELECT a FROM t FOR JSON AUTO", 40517, 1),
    ("SELECT a FROM t WINDOW w AS (ORDER BY a)", 102, 1),
    ("SELECT a FROM LATERAL (SELECT 1) x", 40517, 1),
    ("SELECT a FROM UNNEST(b) x", 40517, 1),
    ("SELECT a FROM (SELECT 1 a)", 102, 1),
    ("SELECT a FROM (VALUES (1))", 102, 1),
    ("SELECT a FROM VALUES (1) x", 156, 1),
    ("SELECT a FROM t PIVOT (MAX(a) FOR b IN ([c])) p", 40517, 1),
    ("SELECT a FROM srv.db.dbo.t", 40517, 1),
    ("SELECT a.b.c.d.e", 4104, 1),
    ("SELECT a FROM t WITH NOLOCK", 102, 1),
    ("SELECT a FROM t WITH ('x')", 102, 1),
    ("SELECT a FROM t GROUP BY ROLLUP (a)", 40517, 1),
    ("SELECT a FROM t GROUP BY a WITH CUBE", 40517, 1),
    ("SELECT TOP 5 PERCENT a FROM t", 40517, 1),
    ("SELECT TOP 5 WITH TIES a FROM t ORDER BY a", 40517, 1),
    ("SELECT NEXT VALUE FOR s", 40517, 1),
    ("SELECT PARSE('1' AS int)", 40517, 1),
    ("SELECT a.nodes.value('x') FROM t", 40517, 1),
    ("SELECT @x.value('(/a)[1]', 'int')", 40517, 1),
    ("SELECT geometry::Point(1, 2, 0)", 40517, 1),
    ("SELECT FIRST_VALUE(a) IGNORE NULLS OVER (ORDER BY b)", 40517, 1),
    ("SELECT SUM(a) OVER w FROM t", 40517, 1),
    ("SELECT a FROM t WHERE a IS DISTINCT FROM b", 40517, 1),
    ("FROM t SELECT a", 156, 1),
    ("TABLE t", 156, 1),
    ("VALUES (1)", 156, 1),
    ("SELECT 1 UNION", 156, 1),
    ("SELECT 1 UNION DISTINCT SELECT 2", 156, 1),
    ("SELECT 1 UNION BY NAME SELECT 2", 156, 1),
    ("SELECT 1 MINUS SELECT 2 x 3", 102, 1),
    ("WITH a AS (SELECT 1)", 102, 1),
    ("WITH a (SELECT 1) SELECT 1", 156, 1),
    ("WITH a AS SELECT 1 SELECT 2", 156, 1),
    ("WITH a AS (SELECT 1), SELECT 2", 156, 1),
    ("WITH a AS (SELECT 1) WITH b AS (SELECT 2) SELECT 3", 156, 1),
    ("WITH RECURSIVE a AS (SELECT 1) SELECT 2", 102, 1),
    ("WITH a AS MATERIALIZED (SELECT 1) SELECT 2", 102, 1),
    ("WITH a AS (DELETE FROM t) SELECT 1", 156, 1),
    ("SELECT a?b", 102, 1),
    ("SELECT ?", 102, 1),
    ("SELECT :a", 102, 1),
    ("SELECT `a`", 102, 1),
    ("SELECT a\\b", 102, 1),
    ("SELECT a]", 102, 1),
    ("SELECT a!b", 102, 1),
    ("SELECT 'a", 105, 1),
    ("SELECT N'a", 105, 1),
    ("SELECT 'a''", 105, 1),
    ("SELECT [a", 105, 1),
    ('SELECT "a', 105, 1),
    ("SELECT /* a", 113, 1),
    ("SELECT /* a /* b */", 113, 1),
    ("SELECT {x '1'}", 102, 1),
    ("SELECT {d 1}", 102, 1),
    ("SELECT {d '2020-01-01'", 102, 1),
    ("INSERT", 156, 1),
    ("INSERT INTO", 156, 1),
    ("INSERT INTO t", 102, 1),
    ("INSERT INTO t VALUES", 156, 1),
    ("INSERT INTO t VALUES 1", 102, 1),
    ("INSERT INTO t VALUES ()", 102, 1),
    ("INSERT INTO t VALUES (1,)", 102, 1),
    ("INSERT INTO t (a b) VALUES (1)", 102, 1),
    ("INSERT INTO t () VALUES (1)", 102, 1),
    ("INSERT INTO t AS x VALUES (1)", 156, 1),
    ("INSERT INTO t SET a = 1", 156, 1),
    ("INSERT OVERWRITE TABLE t SELECT 1", 156, 1),
    ("INSERT OR REPLACE INTO t VALUES (1)", 156, 1),
    ("INSERT IGNORE INTO t VALUES (1)", 156, 1),
    ("INSERT INTO t VALUES (1) RETURNING a", 102, 1),
    ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", 156, 1),
    ("UPDATE", 156, 1),
    ("UPDATE t", 102, 1),
    ("UPDATE t SET", 156, 1),
    ("UPDATE t SET a", 102, 1),
    ("UPDATE t SET a = ", 102, 1),
    ("UPDATE t SET a = 1,", 102, 1),
    ("UPDATE t SET (a, b) = (1, 2)", 102, 1),
    ("UPDATE t x SET a = 1", 102, 1),
    ("UPDATE t SET a = 1 ORDER BY a", 156, 1),
    ("UPDATE t SET a = 1 WHERE", 156, 1),
    ("UPDATE t SET a = 1 RETURNING a", 102, 1),
    ("UPDATE t SET @a = 1", 40517, 1),
    ("UPDATE t SET a.write('x', 1, 2)", 40517, 1),
    ("UPDATE t SET a = 1 WHERE CURRENT OF c", 40517, 1),
    ("DELETE", 156, 1),
    ("DELETE FROM", 156, 1),
    ("DELETE FROM t x", 102, 1),
    ("DELETE FROM t USING u", 102, 1),
    ("DELETE FROM t WHERE a", 4145, 1),
    ("DELETE * FROM t", 102, 1),
    ("DELETE FROM t LIMIT 5", 102, 1),
    ("MERGE t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", 10713, 1),
    ("MERGE t USING u ON t.a = u.a;", 102, 1),
    ("MERGE t USING u WHEN MATCHED THEN DELETE;", 156, 1),
    ("MERGE t ON t.a = 1 WHEN MATCHED THEN DELETE;", 156, 1),
    ("MERGE t USING u ON t.a = u.a WHEN MATCHED DELETE;", 156, 1),
    ("MERGE t USING u ON t.a = u.a WHEN MATCHED THEN DO NOTHING;", 102, 1),
    ("MERGE t USING u ON t.a = u.a WHEN MATCHED THEN UPDATE a = 1;", 102, 1),
    ("SELECT 1\nFROM t\nWHERE a = ORDER", 156, 3),
    ("SELECT 'a\nb',\n  c d e", 102, 3),
    ("SELECT 1 -- x\n/* y\n */ +", 102, 3),
    ("SELECT a\r\nFROM t\r\nLIMIT 1", 102, 3),
    ("\n\nSELECT 'a\n\n", 105, 3),
    ("SELECT [a\nb] c\nd", 102, 3),
    ("SELECT 1\n\n/* a", 113, 3),
    ("SELECT a, t.5 FROM t", 102, 1),
    (
        "MERGE t USING u ON t.a = u.a WHEN MATCHED THEN DELETE OPTION (LOOP JOIN);",
        10713,
        1,
    ),
]
