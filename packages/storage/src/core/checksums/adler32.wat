;; adler32 (RFC 1950) over bytes that lie in the imported memory, 32 at a time with 128-bit vectors.
;;
;; For a block of n bytes d0 … d(n-1), from the state (a, b):  a' = a + Σ di,  b' = b + n·a + Σ (n - i)·di.
;; Over chunks of 32 bytes, three vectors of sums are kept:
;;   sums      Σ di so far
;;   prefixes  Σ of `sums` as it was before each chunk: 32 times it is what earlier bytes add to b
;;   weighted  Σ (32 - i)·di within each chunk
;; A block has at most 173 chunks (5536 bytes), so that b' stays below 2^32; the remainder is taken once a block.
(module
  (import "weft" "memory" (memory 1))
  (func (export "update") (param $adler i32) (param $at i32) (param $length i32) (result i32)
    (local $a i32) (local $b i32) (local $chunks i32) (local $block i32)
    (local $low v128) (local $high v128)
    (local $sums v128) (local $prefixes v128) (local $weighted v128)
    (local.set $a (i32.and (local.get $adler) (i32.const 0xffff)))
    (local.set $b (i32.shr_u (local.get $adler) (i32.const 16)))

    (loop $blocks
      (local.set $chunks (i32.shr_u (local.get $length) (i32.const 5)))
      (if (local.get $chunks)
        (then
          (if (i32.gt_u (local.get $chunks) (i32.const 173)) (then (local.set $chunks (i32.const 173))))
          (local.set $block (i32.shl (local.get $chunks) (i32.const 5)))
          (local.set $length (i32.sub (local.get $length) (local.get $block)))
          (local.set $b (i32.add (local.get $b) (i32.mul (local.get $block) (local.get $a))))
          (local.set $sums (v128.const i32x4 0 0 0 0))
          (local.set $prefixes (v128.const i32x4 0 0 0 0))
          (local.set $weighted (v128.const i32x4 0 0 0 0))
          (loop $next
            (local.set $prefixes (i32x4.add (local.get $prefixes) (local.get $sums)))
            (local.set $low (v128.load (local.get $at)))
            (local.set $high (v128.load offset=16 (local.get $at)))
            (local.set $sums (i32x4.add (local.get $sums)
              (i32x4.extadd_pairwise_i16x8_u (i16x8.add
                (i16x8.extadd_pairwise_i8x16_u (local.get $low))
                (i16x8.extadd_pairwise_i8x16_u (local.get $high))))))
            (local.set $weighted (i32x4.add (local.get $weighted) (i32x4.add
              (i32x4.add
                (i32x4.dot_i16x8_s (i16x8.extend_low_i8x16_u (local.get $low)) (v128.const i16x8 32 31 30 29 28 27 26 25))
                (i32x4.dot_i16x8_s (i16x8.extend_high_i8x16_u (local.get $low)) (v128.const i16x8 24 23 22 21 20 19 18 17)))
              (i32x4.add
                (i32x4.dot_i16x8_s (i16x8.extend_low_i8x16_u (local.get $high)) (v128.const i16x8 16 15 14 13 12 11 10 9))
                (i32x4.dot_i16x8_s (i16x8.extend_high_i8x16_u (local.get $high)) (v128.const i16x8 8 7 6 5 4 3 2 1))))))
            (local.set $at (i32.add (local.get $at) (i32.const 32)))
            (br_if $next (local.tee $chunks (i32.sub (local.get $chunks) (i32.const 1)))))
          (local.set $weighted (i32x4.add (local.get $weighted) (i32x4.shl (local.get $prefixes) (i32.const 5))))
          (local.set $a (i32.rem_u
            (i32.add (local.get $a) (call $across (local.get $sums)))
            (i32.const 65521)))
          (local.set $b (i32.rem_u
            (i32.add (local.get $b) (call $across (local.get $weighted)))
            (i32.const 65521)))
          (br $blocks))))

    ;; The last bytes, fewer than 32.
    (if (local.get $length)
      (then
        (loop $bytes
          (local.set $a (i32.add (local.get $a) (i32.load8_u (local.get $at))))
          (local.set $b (i32.add (local.get $b) (local.get $a)))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br_if $bytes (local.tee $length (i32.sub (local.get $length) (i32.const 1)))))
        (local.set $a (i32.rem_u (local.get $a) (i32.const 65521)))
        (local.set $b (i32.rem_u (local.get $b) (i32.const 65521)))))
    (i32.or (i32.shl (local.get $b) (i32.const 16)) (local.get $a)))

  ;; Sum of the four lanes.
  (func $across (param $vector v128) (result i32)
    (i32.add
      (i32.add (i32x4.extract_lane 0 (local.get $vector)) (i32x4.extract_lane 1 (local.get $vector)))
      (i32.add (i32x4.extract_lane 2 (local.get $vector)) (i32x4.extract_lane 3 (local.get $vector))))))
