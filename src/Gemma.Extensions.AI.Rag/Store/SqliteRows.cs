using System.Text;
using Gemma.Extensions.AI.Rag.Words;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.VectorData.ProviderServices;

namespace Gemma.Extensions.AI.Rag.Store;

/// <summary>An SQL condition over the rows of a collection with its parameters $p0, $p1, …</summary>
internal sealed record Condition(string Sql, IReadOnlyList<object> Parameters)
{
    public void Bind(SqliteCommand command)
    {
        for (int i = 0; i < Parameters.Count; i++)
        {
            command.Parameters.AddWithValue($"$p{i}", Parameters[i]);
        }
    }
}

/// <summary>A row and its score; best first in lists.</summary>
internal readonly record struct ScoredRow(long Id, double Score);

/// <summary>
/// Records as rows. Three kinds of tables: the rows with key and data, the FTS5 index of the full-text columns, and one table of blobs a vector
/// property. All of them share the row's id, which is never reused. A deleted vector leaves its id with the number of the change, so that
/// indexes in other processes learn of it.
/// </summary>
internal sealed class SqliteRows<TRecord>
    where TRecord : class
{
    /// <summary>Traces of deleted rows are dropped when they outnumber this and the rows that are left.</summary>
    private const int TraceLimit = 1000;

    private readonly CollectionModel _model;
    private readonly DataPropertyModel[] _fullText;
    private readonly string _columns;

    public SqliteRows(CollectionModel model)
    {
        _model = model;
        _fullText = [.. model.DataProperties.Where(p => p.IsFullTextIndexed)];
        _columns = string.Join(", ", model.DataProperties.Select(p => Quote(p.StorageName)).Prepend(Quote(model.KeyProperty.StorageName)));
    }

    public static string Quote(string name) => $"\"{name.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";

    public IEnumerable<string> CreateStatements(CollectionEntry entry)
    {
        StringBuilder table = new($"CREATE TABLE {entry.Rows} (_id_ INTEGER PRIMARY KEY AUTOINCREMENT, {Quote(_model.KeyProperty.StorageName)} {Declared(_model.KeyProperty.Type)} NOT NULL UNIQUE");
        foreach (DataPropertyModel property in _model.DataProperties)
        {
            table.Append($", {Quote(property.StorageName)} {Declared(property.Type)}");
        }

        yield return table.Append(") STRICT").ToString();
        foreach ((int index, DataPropertyModel property) in _model.DataProperties.Index().Where(p => p.Item.IsIndexed))
        {
            yield return $"CREATE INDEX {entry.Rows}_index{index} ON {entry.Rows} ({Quote(property.StorageName)})";
        }

        if (_fullText.Length > 0)
        {
            yield return SqliteLayout.CreateText(entry.Text, _fullText.Length, entry.Tokenizer);
        }

        for (int p = 0; p < _model.VectorProperties.Count; p++)
        {
            yield return $"CREATE TABLE {entry.Vectors(p)} (id INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, vector BLOB) STRICT";
            yield return $"CREATE INDEX {entry.Vectors(p)}_sequence ON {entry.Vectors(p)} (sequence)";
        }

        static string Declared(Type type) => SqliteValues.ColumnType(type) is "JSON" ? "TEXT" : SqliteValues.ColumnType(type)!;
    }

    /// <summary>Writes a batch. Guid keys that are empty and may be generated are set on the records.</summary>
    public void Upsert(SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, List<TRecord> batch, float[]?[][] vectors, CancellationToken cancellationToken)
    {
        long sequence = SqliteCatalogue.NextSequence(connection, transaction, entry);
        int count = _model.DataProperties.Count + 1;
        string names = string.Join(", ", Enumerable.Range(0, count).Select(i => $"$c{i}"));
        string key = Quote(_model.KeyProperty.StorageName);

        // An update that changes nothing still has to return the id.
        string updates = string.Join(", ", _model.DataProperties.Select(p => $"{Quote(p.StorageName)} = excluded.{Quote(p.StorageName)}").DefaultIfEmpty($"{key} = excluded.{key}"));
        using SqliteCommand insert = SqliteDatabase.Command(
            connection, transaction, $"INSERT INTO {entry.Rows} ({_columns}) VALUES ({names}) ON CONFLICT ({key}) DO UPDATE SET {updates} RETURNING _id_");
        SqliteParameter[] parameters = [.. Enumerable.Range(0, count).Select(i => insert.Parameters.AddWithValue($"$c{i}", DBNull.Value))];

        using SqliteCommand text = SqliteDatabase.Command(
            connection, transaction,
            $"INSERT OR REPLACE INTO {entry.Text} (rowid, {string.Join(", ", _fullText.Select((_, i) => $"t{i}"))}) VALUES ($id, {string.Join(", ", _fullText.Select((_, i) => $"$t{i}"))})");
        using SqliteCommand vector = SqliteDatabase.Command(connection, transaction, "");

        for (int r = 0; r < batch.Count; r++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            TRecord record = batch[r];
            parameters[0].Value = KeyOf(record);
            for (int c = 0; c < _model.DataProperties.Count; c++)
            {
                parameters[c + 1].Value = SqliteValues.ToSql(_model.DataProperties[c].GetValueAsObject(record));
            }

            long id = (long)insert.ExecuteScalar()!;
            if (_fullText.Length > 0)
            {
                text.Parameters.Clear();
                text.Parameters.AddWithValue("$id", id);
                for (int t = 0; t < _fullText.Length; t++)
                {
                    text.Parameters.AddWithValue($"$t{t}", FullTextValue(_fullText[t], record, entry.Tokenizer));
                }

                text.ExecuteNonQuery();
            }

            for (int p = 0; p < _model.VectorProperties.Count; p++)
            {
                vector.CommandText = $"INSERT INTO {entry.Vectors(p)} (id, sequence, vector) VALUES ($id, $sequence, $vector) ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, vector = excluded.vector";
                vector.Parameters.Clear();
                vector.Parameters.AddWithValue("$id", id);
                vector.Parameters.AddWithValue("$sequence", sequence);
                vector.Parameters.AddWithValue("$vector", vectors[p][r] is { } v ? SqliteValues.ToBlob(v, SqliteValues.IsHalf(_model.VectorProperties[p].EmbeddingType)) : DBNull.Value);
                vector.ExecuteNonQuery();
            }
        }
    }

    public void Delete(SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, object[] keys, CancellationToken cancellationToken)
    {
        long sequence = SqliteCatalogue.NextSequence(connection, transaction, entry);
        using SqliteCommand row = SqliteDatabase.Command(
            connection, transaction, $"DELETE FROM {entry.Rows} WHERE {Quote(_model.KeyProperty.StorageName)} = $key RETURNING _id_");
        SqliteParameter key = row.Parameters.AddWithValue("$key", DBNull.Value);
        foreach (object value in keys)
        {
            cancellationToken.ThrowIfCancellationRequested();
            key.Value = value;
            if (row.ExecuteScalar() is not long id)
            {
                continue;
            }

            if (_fullText.Length > 0)
            {
                Execute($"DELETE FROM {entry.Text} WHERE rowid = $id", id);
            }

            for (int p = 0; p < _model.VectorProperties.Count; p++)
            {
                Execute($"UPDATE {entry.Vectors(p)} SET sequence = {sequence}, vector = NULL WHERE id = $id", id);
            }
        }

        DropTraces(connection, transaction, entry);

        void Execute(string sql, long id)
        {
            using SqliteCommand command = SqliteDatabase.Command(connection, transaction, sql, ("$id", id));
            command.ExecuteNonQuery();
        }
    }

    /// <summary>Bounds what deleted rows leave behind. A new generation tells every index to start again.</summary>
    private void DropTraces(SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry)
    {
        if (_model.VectorProperties.Count == 0)
        {
            return;
        }

        using SqliteCommand count = SqliteDatabase.Command(
            connection, transaction, $"SELECT (SELECT count(*) FROM {entry.Vectors(0)}) - 2 * (SELECT count(*) FROM {entry.Rows}) > {TraceLimit}");
        if ((long)count.ExecuteScalar()! == 0)
        {
            return;
        }

        string sql = string.Join("; ", _model.VectorProperties.Select((_, p) => $"DELETE FROM {entry.Vectors(p)} WHERE id NOT IN (SELECT _id_ FROM {entry.Rows})")
            .Append($"UPDATE vector_collections SET generation = generation + 1 WHERE id = {entry.Id}"));
        using SqliteCommand drop = SqliteDatabase.Command(connection, transaction, sql);
        drop.ExecuteNonQuery();
    }

    public List<TRecord> ByKeys(SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, object[] keys, bool includeVectors)
    {
        List<TRecord> records = [];
        using SqliteCommand command = SqliteDatabase.Command(
            connection, transaction, $"SELECT _id_, {_columns} FROM {entry.Rows} WHERE {Quote(_model.KeyProperty.StorageName)} = $key");
        SqliteParameter parameter = command.Parameters.AddWithValue("$key", DBNull.Value);
        foreach (object key in keys)
        {
            parameter.Value = key;
            Read(command, connection, transaction, entry, includeVectors, records);
        }

        return records;
    }

    public TRecord? ById(SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, long id, bool includeVectors)
    {
        List<TRecord> records = [];
        using SqliteCommand command = SqliteDatabase.Command(connection, transaction, $"SELECT _id_, {_columns} FROM {entry.Rows} WHERE _id_ = $id", ("$id", id));
        Read(command, connection, transaction, entry, includeVectors, records);
        return records is [{ } record] ? record : null;
    }

    public List<TRecord> Where(
        SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, Condition condition, string order, int top, int skip, bool includeVectors)
    {
        List<TRecord> records = [];
        using SqliteCommand command = SqliteDatabase.Command(
            connection, transaction, $"SELECT _id_, {_columns} FROM {entry.Rows} WHERE {condition.Sql} ORDER BY {order} LIMIT $top OFFSET $skip", ("$top", (long)top), ("$skip", (long)skip));
        condition.Bind(command);
        Read(command, connection, transaction, entry, includeVectors, records);
        return records;
    }

    /// <summary>Rows by BM25, best first; the score is turned so that more is better.</summary>
    public List<ScoredRow> FullText(
        SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, DataPropertyModel property, ICollection<string> keywords, Condition? condition, int count)
    {
        string[] phrases = [.. keywords.Select(k => SearchWords.Expression(k, entry.Tokenizer)).OfType<string>().Distinct(StringComparer.Ordinal)];
        if (phrases.Length == 0)
        {
            return [];
        }

        string match = $"t{Array.IndexOf(_fullText, property)} : ({string.Join(" OR ", phrases)})";
        string filter = condition is null ? "" : $" AND rowid IN (SELECT _id_ FROM {entry.Rows} WHERE {condition.Sql})";
        using SqliteCommand command = SqliteDatabase.Command(
            connection, transaction, $"SELECT rowid, rank FROM {entry.Text} WHERE {entry.Text} MATCH $match{filter} ORDER BY rank, rowid LIMIT $count",
            ("$match", match), ("$count", (long)count));
        condition?.Bind(command);
        List<ScoredRow> rows = [];
        using SqliteDataReader reader = command.ExecuteReader();
        while (reader.Read())
        {
            rows.Add(new ScoredRow(reader.GetInt64(0), -reader.GetDouble(1)));
        }

        return rows;
    }

    /// <summary>The number of rows, for each word the number of those that hold it, and for each key which words its row holds, as the tokenizer of the full text sees words.</summary>
    public (long Rows, long[] Matches, bool[][] Held) WordCounts(
        SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, DataPropertyModel property, IReadOnlyList<string> words, object[] keys)
    {
        using SqliteCommand count = SqliteDatabase.Command(connection, transaction, $"SELECT count(*) FROM {entry.Rows}");
        using SqliteCommand match = SqliteDatabase.Command(connection, transaction, $"SELECT count(*) FROM {entry.Text} WHERE {entry.Text} MATCH $match");
        SqliteParameter parameter = match.Parameters.AddWithValue("$match", "");
        using SqliteCommand holds = SqliteDatabase.Command(
            connection, transaction,
            $"SELECT 1 FROM {entry.Text} WHERE {entry.Text} MATCH $match AND rowid = (SELECT _id_ FROM {entry.Rows} WHERE {Quote(_model.KeyProperty.StorageName)} = $key)");
        SqliteParameter held = holds.Parameters.AddWithValue("$match", ""), key = holds.Parameters.AddWithValue("$key", "");
        long[] matches = new long[words.Count];
        bool[][] byKey = [.. keys.Select(_ => new bool[words.Count])];
        for (int i = 0; i < matches.Length; i++)
        {
            if (SearchWords.Expression(words[i], entry.Tokenizer) is not { } expression)
            {
                continue;
            }

            parameter.Value = held.Value = $"t{Array.IndexOf(_fullText, property)} : {expression}";
            matches[i] = (long)match.ExecuteScalar()!;
            for (int k = 0; k < keys.Length && matches[i] > 0; k++)
            {
                key.Value = keys[k];
                byKey[k][i] = holds.ExecuteScalar() is not null;
            }
        }

        return ((long)count.ExecuteScalar()!, matches, byKey);
    }

    private void Read(SqliteCommand command, SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, bool includeVectors, List<TRecord> records)
    {
        using SqliteDataReader reader = command.ExecuteReader();
        while (reader.Read())
        {
            TRecord record = _model.CreateRecord<TRecord>()!;
            _model.KeyProperty.SetValueAsObject(record, SqliteValues.FromSql(reader, 1, _model.KeyProperty.Type));
            for (int c = 0; c < _model.DataProperties.Count; c++)
            {
                DataPropertyModel property = _model.DataProperties[c];
                property.SetValueAsObject(record, SqliteValues.FromSql(reader, c + 2, property.Type));
            }

            if (includeVectors)
            {
                ReadVectors(connection, transaction, entry, reader.GetInt64(0), record);
            }

            records.Add(record);
        }
    }

    private void ReadVectors(SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, long id, TRecord record)
    {
        for (int p = 0; p < _model.VectorProperties.Count; p++)
        {
            VectorPropertyModel property = _model.VectorProperties[p];
            using SqliteCommand command = SqliteDatabase.Command(connection, transaction, $"SELECT vector FROM {entry.Vectors(p)} WHERE id = $id", ("$id", id));
            if (command.ExecuteScalar() is byte[] blob)
            {
                float[] vector = new float[property.Dimensions];
                SqliteValues.FromBlob(blob, SqliteValues.IsHalf(property.EmbeddingType), vector);
                property.SetValueAsObject(record, SqliteValues.ToProperty(vector, property.Type));
            }
        }
    }

    private object KeyOf(TRecord record)
    {
        object? key = _model.KeyProperty.GetValueAsObject(record);
        if (_model.KeyProperty.IsAutoGenerated && (key is null || key.Equals(Guid.Empty)))
        {
            key = Guid.CreateVersion7();
            _model.KeyProperty.SetValueAsObject(record, key);
        }

        return key is null
            ? throw new ArgumentException($"The key '{_model.KeyProperty.ModelName}' of a record is null. Set it before the record is stored.")
            : SqliteValues.ToSql(key);
    }

    private static object FullTextValue(DataPropertyModel property, TRecord record, string tokenizer) =>
        SqliteValues.FullText(SqliteValues.ToSql(property.GetValueAsObject(record)), SqliteValues.ColumnType(property.Type) == "JSON") is { } text ? SearchWords.Indexed(text, tokenizer) : DBNull.Value;
}
