"""The emoji that tags name, by the short names that chat programs and code hosts use.

The names are those of the Unicode names and of GitHub's short codes, as listed by the `emoji` package (BSD
licence, Taehoon Kim, Kevin Wurster).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Each emoji and its names; skin tones, flags and what is joined of several are left out.
_LISTED = """
🥇 1st_place_medal|🥈 2nd_place_medal|🥉 3rd_place_medal
🆎 ab ab_button_blood_type ab_button_(blood_type)|🏧 atm atm_sign
🅰️ a a_button_blood_type a_button_(blood_type)|♒ aquarius|♈ aries|🔙 back back_arrow
🅱️ b b_button_blood_type b_button_(blood_type)|🆑 cl cl_button|🆒 cool cool_button|♋ cancer
♑ capricorn|🎄 christmas_tree|🔚 end end_arrow|🏴󠁧󠁢󠁥󠁮󠁧󠁿 england|🆓 free free_button|♊ gemini
🆔 id id_button|🉑 accept japanese_acceptable_button|🈸 u7533 japanese_application_button
🉐 ideograph_advantage japanese_bargain_button|🏯 japanese_castle
㊗️ congratulations japanese_congratulations_button|🈹 u5272 japanese_discount_button
🎎 dolls japanese_dolls|🈚 u7121 japanese_free_of_charge_button|🈁 koko japanese_here_button
🈷️ u6708 japanese_monthly_amount_button|🈵 u6e80 japanese_no_vacancy_button
🈶 u6709 japanese_not_free_of_charge_button|🈺 u55b6 japanese_open_for_business_button
🈴 u5408 japanese_passing_grade_button|🏣 post_office japanese_post_office
🈲 u7981 japanese_prohibited_button|🈯 u6307 japanese_reserved_button
㊙️ secret japanese_secret_button|🈂️ sa japanese_service_charge_button
🔰 beginner japanese_symbol_for_beginner|🈳 u7a7a japanese_vacancy_button|♌ leo|♎ libra
🤶 mrs_claus mrs._claus|🆕 new new_button|🆖 ng ng_button|🆗 ok ok_button|👌 ok_hand
🔛 on on_arrow on!_arrow|🅾️ o2 o_button_blood_type o_button_(blood_type)|⛎ ophiuchus
🅿️ parking p_button|♓ pisces|🔜 soon soon_arrow|🆘 sos sos_button|♐ sagittarius
🎅 santa santa_claus|♏ scorpius scorpio|🏴󠁧󠁢󠁳󠁣󠁴󠁿 scotland|🗽 statue_of_liberty|🦖 t-rex t_rex
🔝 top top_arrow|♉ taurus|🗼 tokyo_tower|🆙 up up_button up!_button|🆚 vs vs_button|♍ virgo
🏴󠁧󠁢󠁷󠁬󠁳󠁿 wales|💤 zzz|🧮 abacus|🪗 accordion|🩹 adhesive_bandage|🎟️ tickets admission_tickets
🚡 aerial_tramway|✈️ airplane|🛬 airplane_arriving flight_arrival airplane_arrival
🛫 flight_departure airplane_departure|⏰ alarm_clock|⚗️ alembic|👽 alien
👾 space_invader alien_monster|🚑 ambulance|🏈 football american_football|🏺 amphora
🫀 anatomical_heart|⚓ anchor|💢 anger anger_symbol|😠 angry angry_face
👿 imp angry_face_with_horns|😧 anguished anguished_face|🐜 ant
📶 signal_strength antenna_bars|😰 cold_sweat anxious_face_with_sweat|🚛 articulated_lorry
🎨 art artist_palette|😲 astonished astonished_face|⚛️ atom_symbol|🛺 auto_rickshaw
🚗 car red_car automobile|🥑 avocado|🪓 axe|👶 baby|👼 angel baby_angel|🍼 baby_bottle
🐤 baby_chick|🚼 baby_symbol|👇 point_down backhand_index_pointing_down
👈 point_left backhand_index_pointing_left|👉 point_right backhand_index_pointing_right
👆 point_up_2 backhand_index_pointing_up|🎒 school_satchel backpack|🥓 bacon|🦡 badger
🏸 badminton_racquet_and_shuttlecock badminton|🥯 bagel|🛄 baggage_claim|🥖 baguette_bread
⚖️ scales balance_scale|🦲 bald|🩰 ballet_shoes|🎈 balloon
🗳️ ballot_box ballot_box_with_ballot|🍌 banana|🪕 banjo|🏦 bank|📊 bar_chart
💈 barber barber_pole|⚾ baseball|🧺 basket|🏀 basketball|🦇 bat|🛁 bathtub|🔋 battery
🏖️ beach_umbrella beach_with_umbrella|😁 grin beaming_face_with_smiling_eyes|🫘 beans|🐻 bear
💓 heartbeat beating_heart|🦫 beaver|🛏️ bed|🍺 beer beer_mug|🪲 beetle|🔔 bell|🫑 bell_pepper
🔕 no_bell bell_with_slash|🛎️ bellhop_bell|🍱 bento bento_box|🧃 beverage_box|🚲 bike bicycle
👙 bikini|🧢 billed_cap|☣️ biohazard_sign biohazard|🐦 bird|🎂 birthday birthday_cake|🦬 bison
🫦 biting_lip|⚫ black_circle|🏴 waving_black_flag black_flag|🖤 black_heart
⬛ black_large_square|◾ black_medium_small_square black_medium-small_square
◼️ black_medium_square|✒️ black_nib|▪️ black_small_square|🔲 black_square_button|🌼 blossom
🐡 blowfish|📘 blue_book|🔵 large_blue_circle blue_circle|💙 blue_heart|🟦 blue_square
🫐 blueberries|🐗 boar|💣 bomb|🦴 bone|🔖 bookmark|📑 bookmark_tabs|📚 books|🪃 boomerang
🍾 champagne bottle_with_popping_cork|💐 bouquet|🏹 bow_and_arrow|🥣 bowl_with_spoon|🎳 bowling
🥊 boxing_glove|👦 boy|🧠 brain|🍞 bread|🤱 breast_feeding breast-feeding|🧱 bricks brick
🌉 bridge_at_night|💼 briefcase|🩲 swim_brief briefs|🔆 high_brightness bright_button
🥦 broccoli|💔 broken_heart|🧹 broom|🟤 brown_circle|🤎 brown_heart|🟫 brown_square|🧋 bubble_tea
🫧 bubbles|🪣 bucket|🐛 bug|🏗️ building_construction|🚅 bullettrain_front bullet_train
🎯 dart bullseye|🌯 burrito|🚌 bus|🚏 busstop bus_stop|👤 bust_in_silhouette
👥 busts_in_silhouette|🧈 butter|🦋 butterfly|🌵 cactus|📅 date calendar|🤙 call_me_hand
🐪 dromedary_camel camel|📷 camera|📸 camera_flash camera_with_flash|🏕️ camping|🕯️ candle
🍬 candy|🥫 canned_food|🛶 canoe|🗃️ card_file_box|📇 card_index|🗂️ card_index_dividers
🎠 carousel_horse|🎏 flags carp_streamer|🪚 carpentry_saw|🥕 carrot|🏰 european_castle castle
🐈 cat2 cat|🐱 cat_face|😹 joy_cat cat_with_tears_of_joy|😼 smirk_cat cat_with_wry_smile
⛓️ chains|🪑 chair|📉 chart_with_downwards_trend chart_decreasing
📈 chart_with_upwards_trend chart_increasing|💹 chart chart_increasing_with_yen
☑️ ballot_box_with_check check_box_with_check|✔️ heavy_check_mark check_mark
✅ white_check_mark check_mark_button|🧀 cheese cheese_wedge|🏁 checkered_flag chequered_flag
🍒 cherries|🌸 cherry_blossom|♟️ chess_pawn|🌰 chestnut|🐔 chicken|🧒 child|🚸 children_crossing
🐿️ chipmunk|🍫 chocolate_bar|🥢 chopsticks|⛪ church|🚬 smoking cigarette|🎦 cinema
Ⓜ️ m circled_m|🎪 circus_tent|🏙️ cityscape|🌆 city_sunset cityscape_at_dusk
🗜️ compression clamp|🎬 clapper clapper_board|👏 clap clapping_hands|🏛️ classical_building
🍻 beers clinking_beer_mugs|🥂 clinking_glasses|📋 clipboard
🔃 arrows_clockwise clockwise_vertical_arrows|📕 closed_book
📪 mailbox_closed closed_mailbox_with_lowered_flag
📫 mailbox closed_mailbox_with_raised_flag|🌂 closed_umbrella|☁️ cloud
🌩️ cloud_with_lightning|⛈️ thunder_cloud_and_rain cloud_with_lightning_and_rain
🌧️ cloud_with_rain|🌨️ cloud_with_snow|🤡 clown_face|♣️ clubs club_suit|👝 pouch clutch_bag
🧥 coat|🪳 cockroach|🍸 cocktail cocktail_glass|🥥 coconut|⚰️ coffin|🪙 coin|🥶 cold_face
💥 boom collision|☄️ comet|🧭 compass|💽 minidisc computer_disk
🖱️ three_button_mouse computer_mouse|🎊 confetti_ball|😖 confounded confounded_face
😕 confused confused_face|🚧 construction|👷 construction_worker|🎛️ control_knobs
🏪 convenience_store|🍚 rice cooked_rice|🍪 cookie|🍳 egg fried_egg cooking|©️ copyright
🪸 coral|🛋️ couch_and_lamp|🔄 arrows_counterclockwise counterclockwise_arrows_button
💑 couple_with_heart|🐄 cow2 cow|🐮 cow_face|🤠 cowboy_hat_face|🦀 crab|🫫 cracking_face
🖍️ lower_left_crayon crayon|💳 credit_card|🌙 crescent_moon|🦗 cricket
🏏 cricket_bat_and_ball cricket_game|🐊 crocodile|🥐 croissant|❌ x cross_mark
❎ negative_squared_cross_mark cross_mark_button|🤞 crossed_fingers|🎌 crossed_flags
⚔️ crossed_swords|👑 crown|🩼 crutch|😿 crying_cat_face crying_cat|😢 cry crying_face
🔮 crystal_ball|🥒 cucumber|🥤 cup_with_straw|🧁 cupcake|🥌 curling_stone|🦱 curly_hair
➰ curly_loop|💱 currency_exchange|🍛 curry curry_rice|🍮 custard|🛃 customs|🥩 cut_of_meat
🌀 cyclone|🗡️ dagger_knife dagger|🍡 dango|💨 dash dashing_away|🧏 deaf_person
🌳 deciduous_tree|🦌 deer|🚚 truck delivery_truck|🏬 department_store
🏚️ derelict_house_building derelict_house|🏜️ desert|🏝️ desert_island|🖥️ desktop_computer
🕵️ sleuth_or_spy detective|♦️ diamonds diamond_suit
💠 diamond_shape_with_a_dot_inside diamond_with_a_dot|🔅 low_brightness dim_button
😞 disappointed disappointed_face|🥸 disguised_face|🫪 distorted_face
➗ heavy_division_sign divide|🤿 diving_mask|🪔 diya_lamp|💫 dizzy|🧬 dna|🦤 dodo|🐕 dog2 dog
🐶 dog_face|💵 dollar dollar_banknote|🐬 flipper dolphin|🫏 donkey|🚪 door|🫥 dotted_line_face
🔯 six_pointed_star dotted_six_pointed_star dotted_six-pointed_star
➿ loop double_curly_loop|‼️ bangbang double_exclamation_mark|🍩 doughnut
🕊️ dove_of_peace dove|↙️ arrow_lower_left down_left_arrow down-left_arrow
↘️ arrow_lower_right down_right_arrow down-right_arrow|⬇️ arrow_down down_arrow
😓 sweat downcast_face_with_sweat|🔽 arrow_down_small downwards_button|🐉 dragon
🐲 dragon_face|👗 dress|🤤 drooling_face|🩸 drop_of_blood|💧 droplet|🥁 drum|🦆 duck|🥟 dumpling
📀 dvd|📧 email e_mail e-mail|🦅 eagle|👂 ear|🌽 corn ear_of_corn|🦻 ear_with_hearing_aid|🥚 egg2
🍆 eggplant|✴️ eight_pointed_black_star eight_pointed_star eight-pointed_star
✳️ eight_spoked_asterisk eight-spoked_asterisk|🕣 clock830 eight_thirty eight-thirty
🕗 clock8 eight_oclock|⏏️ eject_symbol eject_button|🔌 electric_plug|🐘 elephant|🛗 elevator
🕦 clock1130 eleven_thirty eleven-thirty|🕚 clock11 eleven_oclock|🧝 elf|🪹 empty_nest
😡 rage pout enraged_face|✉️ envelope|📩 envelope_with_arrow|🪌 eraser|💶 euro euro_banknote
🌲 evergreen_tree|🐑 sheep ewe|⁉️ interrobang exclamation_question_mark|🤯 exploding_head
😑 expressionless expressionless_face|👁️ eye|👀 eyes|😘 kissing_heart face_blowing_a_kiss
🥹 face_holding_back_tears|😋 yum face_savoring_food|😱 scream face_screaming_in_fear
🤮 vomiting_face face_vomiting|🫩 face_with_bags_under_eyes
😵 dizzy_face face_with_crossed_out_eyes knocked_out_face face_with_crossed-out_eyes
🫤 face_with_diagonal_mouth|🤭 hand_over_mouth face_with_hand_over_mouth
🤕 face_with_head_bandage face_with_head-bandage|😷 mask face_with_medical_mask
🧐 monocle_face face_with_monocle|🫢 face_with_open_eyes_and_hand_over_mouth
😮 open_mouth face_with_open_mouth|🫣 face_with_peeking_eye
🤨 raised_eyebrow face_with_raised_eyebrow|🙄 roll_eyes face_with_rolling_eyes
😤 triumph face_with_steam_from_nose|🤬 cursing_face face_with_symbols_on_mouth
😂 joy face_with_tears_of_joy|🤒 face_with_thermometer|😛 stuck_out_tongue face_with_tongue
😶 no_mouth face_without_mouth|🏭 factory|🧚 fairy|🧆 falafel|🍂 fallen_leaf|👪 family
⏩ fast_forward fast_forward_button fast-forward_button
⏬ arrow_double_down fast_down_button|⏪ rewind fast_reverse_button
⏫ arrow_double_up fast_up_button|📠 fax fax_machine|😨 fearful fearful_face|🪶 feather
♀️ female_sign|🎡 ferris_wheel|⛴️ ferry|🏑 field_hockey_stick_and_ball field_hockey
🫯 fight_cloud|🗄️ file_cabinet|📁 file_folder|🎞️ film_strip film_frames|📽️ film_projector
🫆 fingerprint|🔥 fire|🚒 fire_engine|🧯 fire_extinguisher|🧨 firecracker|🎆 fireworks
🌓 first_quarter_moon|🌛 first_quarter_moon_with_face first_quarter_moon_face|🐟 fish
🍥 fish_cake fish_cake_with_swirl|🎣 fishing_pole_and_fish fishing_pole
🕠 clock530 five_thirty five-thirty|🕔 clock5 five_oclock|⛳ golf flag_in_hole|🦩 flamingo
🔦 flashlight|🥿 flat_shoe|🫓 flatbread|⚜️ fleur_de_lis fleur-de-lis|💪 muscle flexed_biceps
💾 floppy_disk|🎴 flower_playing_cards|😳 flushed flushed_face|🪈 flute|🪰 fly|🥏 flying_disc
🛸 flying_saucer|🌫️ fog|🌁 foggy|🙏 pray folded_hands|🪭 folding_hand_fan|🫕 fondue|🦶 foot
👣 footprints|🍴 fork_and_knife|🍽️ plate_with_cutlery fork_and_knife_with_plate
🥠 fortune_cookie|⛲ fountain|🖋️ lower_left_fountain_pen fountain_pen
🕟 clock430 four_thirty four-thirty|🍀 four_leaf_clover|🕓 clock4 four_oclock|🦊 fox_face fox
🖼️ frame_with_picture framed_picture|🍟 fries french_fries|🍤 fried_shrimp|🐸 frog
🐥 hatched_chick front_facing_baby_chick front-facing_baby_chick
☹️ white_frowning_face frowning_face|😦 frowning frowning_face_with_open_mouth
⛽ fuelpump fuel_pump|🌕 full_moon|🌝 full_moon_with_face full_moon_face|⚱️ funeral_urn
🎲 game_die|🧄 garlic|⚙️ gear|💎 gem gem_stone|🧞 genie|👻 ghost|🫚 ginger_root|🦒 giraffe|👧 girl
🥛 milk_glass glass_of_milk|👓 eyeglasses glasses|🌎 earth_americas globe_showing_americas
🌏 earth_asia globe_showing_asia_australia globe_showing_asia-australia
🌍 earth_africa globe_showing_europe_africa globe_showing_europe-africa
🌐 globe_with_meridians|🧤 gloves|🌟 star2 glowing_star|🥅 goal_net|🐐 goat
👺 japanese_goblin goblin|🥽 goggles|🪿 goose|🦍 harambe gorilla|🎓 mortar_board graduation_cap
🍇 grapes|🍏 green_apple|📗 green_book|🟢 green_circle|💚 green_heart|🥗 green_salad
🟩 green_square|🩶 grey_heart|😬 grimacing grimacing_face|😺 smiley_cat grinning_cat
😸 smile_cat grinning_cat_with_smiling_eyes|😀 grinning grinning_face
😃 smiley grinning_face_with_big_eyes|😄 smile grinning_face_with_smiling_eyes
😅 sweat_smile grinning_face_with_sweat|😆 satisfied laughing grinning_squinting_face
💗 heartpulse growing_heart|💂 guard|🦮 guide_dog|🎸 guitar|🪮 hair_pick|🫈 hairy_creature
🍔 hamburger|🔨 hammer|⚒️ hammer_and_pick|🛠️ hammer_and_wrench|🪬 hamsa|🐹 hamster
🖐️ raised_hand_with_fingers_splayed hand_with_fingers_splayed
🫰 hand_with_index_finger_and_thumb_crossed|👜 handbag|🤝 handshake|🪉 harp|🐣 hatching_chick
🎧 headphones headphone|🪦 headstone|🙉 hear_no_evil hear_no_evil_monkey hear-no-evil_monkey
💟 heart_decoration
❣️ heavy_heart_exclamation heavy_heart_exclamation_mark_ornament heart_exclamation
🫶 heart_hands|♥️ hearts heart_suit|💘 cupid heart_with_arrow|💝 gift_heart heart_with_ribbon
💲 heavy_dollar_sign|🟰 heavy_equals_sign|🦔 hedgehog|🚁 helicopter|🌿 herb|🌺 hibiscus
👠 high_heel high_heeled_shoe high-heeled_shoe
🚄 bullettrain_side high_speed_train high-speed_train|⚡ zap high_voltage|🥾 hiking_boot
🛕 hindu_temple|🦛 hippopotamus|🕳️ hole|⭕ o hollow_red_circle|🍯 honey_pot|🐝 bee honeybee
🪝 hook|🚥 traffic_light horizontal_traffic_light|🐎 racehorse horse|🐴 horse_face
🏇 horse_racing|🏥 hospital|☕ coffee hot_beverage|🌭 hotdog hot_dog|🥵 hot_face|🌶️ hot_pepper
♨️ hotsprings hot_springs|🏨 hotel|⌛ hourglass hourglass_done
⏳ hourglass_flowing_sand hourglass_not_done|🏠 house|🏡 house_with_garden
🏘️ house_buildings houses|💯 100 hundred_points|😯 hushed hushed_face|🛖 hut|🪻 hyacinth
🧊 ice_cube ice|🍨 ice_cream|🏒 ice_hockey_stick_and_puck ice_hockey|⛸️ ice_skate
🪪 identification_card|📥 inbox_tray|📨 incoming_envelope|🫵 index_pointing_at_the_viewer
☝️ point_up index_pointing_up|♾️ infinity|ℹ️ information_source information
🔤 abc input_latin_letters|🔡 abcd input_latin_lowercase
🔠 capital_abcd input_latin_uppercase|🔢 1234 input_numbers|🔣 symbols input_symbols
🎃 jack_o_lantern jack-o-lantern|🫙 jar|👖 jeans|🪼 jellyfish|🃏 black_joker joker|🕹️ joystick
🕋 kaaba|🦘 kangaroo|🔑 key|⌨️ keyboard|#️⃣ hash keycap_#|*️⃣ asterisk keycap_*
0️⃣ zero keycap_0|1️⃣ one keycap_1|🔟 ten keycap_ten keycap_10|2️⃣ two keycap_2
3️⃣ three keycap_3|4️⃣ four keycap_4|5️⃣ five keycap_5|6️⃣ six keycap_6|7️⃣ seven keycap_7
8️⃣ eight keycap_8|9️⃣ nine keycap_9|🪯 khanda|🛴 kick_scooter|👘 kimono|💏 couplekiss kiss
💋 kiss_mark|😽 kissing_cat|😗 kissing kissing_face
😚 kissing_closed_eyes kissing_face_with_closed_eyes
😙 kissing_smiling_eyes kissing_face_with_smiling_eyes|🔪 hocho knife kitchen_knife|🪁 kite
🥝 kiwi_fruit|🪢 knot|🐨 koala|🥼 lab_coat|🏷️ label|🥍 lacrosse|🪜 ladder|🐞 lady_beetle
🛘 landslide|💻 computer laptop|🔷 large_blue_diamond|🔶 large_orange_diamond
🌗 last_quarter_moon|🌜 last_quarter_moon_with_face last_quarter_moon_face
⏮️ previous_track_button black_left_pointing_double_triangle_with_vertical_bar last_track_button
✝️ latin_cross|🍃 leaves leaf_fluttering_in_wind|🪾 leafless_tree|🥬 leafy_green|📒 ledger
🤛 fist_left left_facing_fist left-facing_fist|↔️ left_right_arrow left-right_arrow
⬅️ arrow_left left_arrow|↪️ arrow_right_hook left_arrow_curving_right|🛅 left_luggage
🗨️ left_speech_bubble|🫲 leftwards_hand|🫷 leftwards_pushing_hand|🫹 leftwards_thumb_sign
🦵 leg|🍋 lemon|🐆 leopard|🎚️ level_slider|🩵 light_blue_heart|💡 bulb light_bulb|🚈 light_rail
🛙 lighthouse|🔗 link|🖇️ paperclips linked_paperclips|🦁 lion_face lion|💄 lipstick
🚮 put_litter_in_its_place litter_in_bin_sign|🦎 lizard|🦙 llama|🦞 lobster|🔒 lock locked
🔐 closed_lock_with_key locked_with_key|🔏 lock_with_ink_pen locked_with_pen
🚂 steam_locomotive locomotive|🍭 lollipop|🪘 long_drum|🧴 lotion_bottle|🪷 lotus
😭 sob loudly_crying_face|📢 loudspeaker|🤟 love_you_gesture love-you_gesture|🏩 love_hotel
💌 love_letter|🪫 low_battery|🧳 luggage|🫁 lungs|🤥 lying_face|🧙 mage|🪄 magic_wand|🧲 magnet
🔍 mag magnifying_glass_tilted_left|🔎 mag_right magnifying_glass_tilted_right
🀄 mahjong mahjong_red_dragon|♂️ male_sign|🦣 mammoth|👨 man|🕺 man_dancing|🥭 mango
🕰️ mantelpiece_clock|🦽 manual_wheelchair|👞 mans_shoe shoe|🗾 japan map_of_japan
🍁 maple_leaf|🪇 maracas|🥋 martial_arts_uniform|🧉 mate|🍖 meat_on_bone|🦾 mechanical_arm
🦿 mechanical_leg|⚕️ medical_symbol|📣 mega megaphone|🍈 melon|🫠 melting_face|📝 pencil memo
👬 two_men_holding_hands men_holding_hands|🕎 menorah_with_nine_branches menorah
🚹 mens mens_room|🧜 merperson|🪋 meteor|🚇 metro|🦠 microbe|🎤 microphone|🔬 microscope
🖕 fu reversed_hand_with_middle_finger_extended middle_finger|🪖 military_helmet
🎖️ medal_military military_medal|🌌 milky_way|🚐 minibus|➖ heavy_minus_sign minus|🪞 mirror
🪩 mirror_ball|🗿 moyai moai|📱 iphone mobile_phone|📴 mobile_phone_off
📲 calling mobile_phone_with_arrow|🫌 monarch_butterfly|🤑 money_mouth_face money-mouth_face
💰 moneybag money_bag|💸 money_with_wings|🐒 monkey|🐵 monkey_face|🚝 monorail|🥮 moon_cake
🎑 rice_scene moon_viewing_ceremony|🫎 moose|🕌 mosque|🦟 mosquito|🛥️ motor_boat
🛵 motor_scooter|🏍️ racing_motorcycle motorcycle|🦼 motorized_wheelchair|🛣️ motorway
🗻 mount_fuji|⛰️ mountain|🚠 mountain_cableway|🚞 mountain_railway|🐁 mouse2 mouse
🐭 mouse_face|🪤 mouse_trap|👄 lips mouth|🎥 movie_camera|✖️ heavy_multiplication_x multiply
🍄 mushroom|🎹 musical_keyboard|🎵 musical_note|🎶 notes musical_notes|🎼 musical_score
🔇 mute muted_speaker|💅 nail_care nail_polish|📛 name_badge|🏞️ national_park
🤢 nauseated_face|🧿 nazar_amulet|👔 necktie|🤓 nerd_face|🪺 nest_with_eggs|🪆 nesting_dolls
🪍 net_with_handle|😐 neutral_face|🌑 new_moon|🌚 new_moon_with_face new_moon_face|📰 newspaper
⏭️ black_right_pointing_double_triangle_with_vertical_bar next_track_button
🌃 night_with_stars|🕤 clock930 nine_thirty nine-thirty|🕘 clock9 nine_oclock|🥷 ninja
🚳 no_bicycles|⛔ no_entry|🚯 do_not_litter no_littering|📵 no_mobile_phones
🔞 underage no_one_under_eighteen|🚷 no_pedestrians|🚭 no_smoking
🚱 non_potable_water non-potable_water|👃 nose|📓 notebook|📔 notebook_with_decorative_cover
🔩 nut_and_bolt|🐙 octopus|🍢 oden|🏢 office office_building|👹 japanese_ogre ogre|🛢️ oil_drum
🗝️ old_key|👴 older_man old_man|👵 older_woman old_woman|🧓 older_adult older_person|🫒 olive
🕉️ om_symbol om|🚘 oncoming_automobile|🚍 oncoming_bus
👊 fist_oncoming punch facepunch oncoming_fist|🚔 oncoming_police_car|🚖 oncoming_taxi
🩱 one_piece_swimsuit one-piece_swimsuit|🕜 clock130 one_thirty one-thirty
🕐 clock1 one_oclock|🧅 onion|📖 book open_book|📂 open_file_folder|👐 open_hands
📭 mailbox_with_no_mail open_mailbox_with_lowered_flag
📬 mailbox_with_mail open_mailbox_with_raised_flag|💿 cd optical_disk|📙 orange_book
🟠 orange_circle|🧡 orange_heart|🟧 orange_square|🦧 orangutan|🫍 orca|☦️ orthodox_cross
🦦 otter|📤 outbox_tray|🦉 owl|🐂 ox|🦪 oyster|📦 package|📄 page_facing_up|📃 page_with_curl
📟 pager|🖌️ lower_left_paintbrush paintbrush|🫳 palm_down_hand|🌴 palm_tree|🫴 palm_up_hand
🤲 palms_up_together|🥞 pancakes|🐼 panda_face panda|📎 paperclip|🪂 parachute|🦜 parrot
〽️ part_alternation_mark|🎉 tada party_popper|🥳 partying_face|🛳️ passenger_ship
🛂 passport_control|⏸️ double_vertical_bar pause_button|🐾 feet paw_prints|🫛 pea_pod
☮️ peace_symbol|🍑 peach|🦚 peacock|🥜 peanuts|🍐 pear|🖊️ lower_left_ballpoint_pen pen
✏️ pencil2|🐧 penguin|😔 pensive pensive_face|🫂 people_hugging
👯 dancers people_with_bunny_ears|🤼 wrestling people_wrestling|🎭 performing_arts
😣 persevere persevering_face|🧑 adult person|🧔 bearded_person person_beard
🚴 bicyclist person_biking|👱 blond_haired_person person_with_blond_hair person_blond_hair
⛹️ bouncing_ball_person person_with_ball person_bouncing_ball|🙇 bow person_bowing
🤸 cartwheeling person_cartwheeling|🧗 climbing person_climbing
🤦 facepalm person_facepalming|🤺 person_fencing|🙍 frowning_person person_frowning
🙅 no_good person_gesturing_no|🙆 ok_person person_gesturing_ok
💇 haircut person_getting_haircut|💆 massage person_getting_massage
🏌️ golfing golfer person_golfing|🛌 sleeping_bed sleeping_accommodation person_in_bed
🧘 lotus_position person_in_lotus_position|🧖 sauna_person person_in_steamy_room
🕴️ business_suit_levitating man_in_business_suit_levitating person_in_suit_levitating
🤵 person_in_tuxedo|🤹 juggling_person person_juggling|🧎 kneeling_person person_kneeling
🏋️ weight_lifting weight_lifter person_lifting_weights
🚵 mountain_bicyclist person_mountain_biking|🤾 handball_person person_playing_handball
🤽 water_polo person_playing_water_polo
🙎 pouting_face person_with_pouting_face person_pouting|🙋 raising_hand person_raising_hand
🚣 rowboat person_rowing_boat|🏃 runner running person_running|🤷 shrug person_shrugging
🧍 standing_person person_standing|🏄 surfer person_surfing|🏊 swimmer person_swimming
🛀 bath person_taking_bath
💁 tipping_hand_person information_desk_person person_tipping_hand|🚶 walking person_walking
👳 person_with_turban person_wearing_turban|🫅 person_with_crown
👲 man_with_gua_pi_mao person_with_skullcap|👰 person_with_veil|🧫 petri_dish|⛏️ pick
🫝 pickle|🛻 pickup_truck|🥧 pie|🐖 pig2 pig|🐷 pig_face|🐽 pig_nose
💩 poop hankey shit pile_of_poo|💊 pill|🤌 pinched_fingers|🤏 pinching_hand
🎍 bamboo pine_decoration|🍍 pineapple|🏓 table_tennis_paddle_and_ball ping_pong|🩷 pink_heart
🍕 pizza|🪅 pinata|🪧 placard|🛐 place_of_worship|▶️ arrow_forward play_button
⏯️ black_right_pointing_triangle_with_double_vertical_bar play_or_pause_button
🛝 playground_slide|🥺 pleading_face|🪠 plunger|➕ heavy_plus_sign plus|🚓 police_car
🚨 rotating_light police_car_light|👮 cop police_officer|🐩 poodle|🎱 8ball pool_8_ball
🍿 popcorn|🏤 european_post_office|📯 postal_horn|📮 postbox|🍲 stew pot_of_food
🚰 potable_water|🥔 potato|🪴 potted_plant|🍗 poultry_leg|💷 pound pound_banknote
🫗 pouring_liquid|😾 pouting_cat|📿 prayer_beads|🫃 pregnant_man|🫄 pregnant_person
🤰 pregnant_woman|🥨 pretzel|🤴 prince|👸 princess|🖨️ printer|🚫 no_entry_sign prohibited
🟣 purple_circle|💜 purple_heart|🟪 purple_square|👛 purse|📌 pushpin|🧩 jigsaw puzzle_piece
🐇 rabbit2 rabbit|🐰 rabbit_face|🦝 raccoon|🏎️ racing_car|📻 radio|🔘 radio_button
☢️ radioactive_sign radioactive|🚃 railway_car|🛤️ railway_track|🌈 rainbow
🤚 raised_back_of_hand|✊ fist fist_raised raised_fist|✋ hand raised_hand
🙌 raised_hands raising_hands|🐏 ram|🐀 rat|🪒 razor|🧾 receipt
⏺️ black_circle_for_record record_button|♻️ recycle recycling_symbol|🍎 apple red_apple
🔴 red_circle|🧧 red_envelope|❗ heavy_exclamation_mark exclamation red_exclamation_mark
🦰 red_hair|❤️ heart red_heart|🏮 izakaya_lantern lantern red_paper_lantern
❓ question red_question_mark|🟥 red_square
🔻 small_red_triangle_down red_triangle_pointed_down
🔺 small_red_triangle red_triangle_pointed_up|®️ registered|😌 relieved relieved_face
🎗️ reminder_ribbon|🔁 repeat repeat_button|🔂 repeat_one repeat_single_button
⛑️ helmet_with_white_cross rescue_worker_helmet rescue_workers_helmet|🚻 restroom
◀️ arrow_backward reverse_button|💞 revolving_hearts|🦏 rhinoceros|🎀 ribbon|🍙 rice_ball
🍘 rice_cracker|🤜 fist_right right_facing_fist right-facing_fist|🗯️ right_anger_bubble
➡️ arrow_right right_arrow|⤵️ arrow_heading_down right_arrow_curving_down
↩️ leftwards_arrow_with_hook right_arrow_curving_left
⤴️ arrow_heading_up right_arrow_curving_up|🫱 rightwards_hand|🫸 rightwards_pushing_hand
🫺 rightwards_thumb_sign|💍 ring|🛟 ring_buoy|🪐 ringed_planet
🍠 sweet_potato roasted_sweet_potato|🤖 robot_face robot|🪨 rock|🚀 rocket|🧻 roll_of_paper
🗞️ rolled_up_newspaper newspaper_roll rolled-up_newspaper|🎢 roller_coaster|🛼 roller_skate
🤣 rofl rolling_on_the_floor_laughing|🐓 rooster|🫜 root_vegetable|🌹 rose|🏵️ rosette
📍 round_pushpin|🏉 rugby_football|🎽 running_shirt_with_sash running_shirt
👟 athletic_shoe running_shoe|😥 disappointed_relieved sad_but_relieved_face|🧷 safety_pin
🦺 safety_vest|⛵ boat sailboat|🍶 sake|🧂 salt|🫡 saluting_face|🥪 sandwich|🥻 sari
🛰️ artificial_satellite satellite|📡 satellite_antenna|🦕 sauropod|🎷 saxophone|🧣 scarf
🏫 school|✂️ scissors|🦂 scorpion|🪛 screwdriver|📜 scroll|🦭 seal|💺 seat
🙈 see_no_evil see_no_evil_monkey see-no-evil_monkey|🌱 seedling|🤳 selfie
🕢 clock730 seven_thirty seven-thirty|🕖 clock7 seven_oclock|🪡 sewing_needle|🫨 shaking_face
🥘 shallow_pan_of_food|☘️ shamrock|🦈 shark|🍧 shaved_ice|🌾 ear_of_rice sheaf_of_rice
🛡️ shield|⛩️ shinto_shrine|🚢 ship|🌠 stars shooting_star|🛍️ shopping shopping_bags
🛒 shopping_cart|🍰 cake shortcake|🩳 shorts|🪏 shovel|🚿 shower|🦐 shrimp
🔀 twisted_rightwards_arrows shuffle_tracks_button|🤫 shushing_face
🤘 metal sign_of_the_horns|🕡 clock630 six_thirty six-thirty|🕕 clock6 six_oclock
🛹 skateboard|⛷️ skier|🎿 ski skis|💀 skull|☠️ skull_and_crossbones|🦨 skunk|🛷 sled
😴 sleeping sleeping_face|😪 sleepy sleepy_face|🙁 slightly_frowning_face
🙂 slightly_smiling_face|🎰 slot_machine|🦥 sloth|🛩️ small_airplane|🔹 small_blue_diamond
🔸 small_orange_diamond
😻 heart_eyes_cat smiling_cat_with_heart_eyes smiling_cat_with_heart-eyes
☺️ relaxed smiling_face|😇 innocent smiling_face_with_halo
😍 heart_eyes smiling_face_with_heart_eyes smiling_face_with_heart-eyes
🥰 smiling_face_with_three_hearts smiling_face_with_hearts
😈 smiling_imp smiling_face_with_horns|🤗 hugging_face hugs smiling_face_with_open_hands
😊 blush smiling_face_with_smiling_eyes|😎 sunglasses smiling_face_with_sunglasses
🥲 smiling_face_with_tear|😏 smirk smirking_face|🐌 snail|🐍 snake|🤧 sneezing_face
🏔️ mountain_snow snow_capped_mountain snow-capped_mountain|🏂 snowboarder|❄️ snowflake
☃️ snowman_with_snow snowman|⛄ snowman_without_snow|🧼 soap|⚽ soccer soccer_ball|🧦 socks
🍦 icecream soft_ice_cream|🥎 softball|♠️ spades spade_suit|🍝 spaghetti|❇️ sparkle
🎇 sparkler|✨ sparkles|💖 sparkling_heart
🙊 speak_no_evil speak_no_evil_monkey speak-no-evil_monkey|🔊 loud_sound speaker_high_volume
🔈 speaker speaker_low_volume|🔉 sound speaker_medium_volume
🗣️ speaking_head_in_silhouette speaking_head|💬 speech_balloon|🚤 speedboat|🕷️ spider
🕸️ spider_web|🗓️ spiral_calendar_pad spiral_calendar|🗒️ spiral_note_pad spiral_notepad
🐚 shell spiral_shell|🫟 splatter|🧽 sponge|🥄 spoon|🚙 blue_car sport_utility_vehicle
🏅 medal_sports sports_medal|🐳 whale spouting_whale|🦑 squid
😝 stuck_out_tongue_closed_eyes squinting_face_with_tongue|🏟️ stadium|⭐ star
🤩 star_struck star-struck|☪️ star_and_crescent|✡️ star_of_david|🚉 station
🍜 ramen steaming_bowl|🩺 stethoscope|⏹️ black_square_for_stop stop_button|🛑 stop_sign
⏱️ stopwatch|📏 straight_ruler|🍓 strawberry|🎙️ studio_microphone|🥙 stuffed_flatbread
☀️ sunny sun|⛅ partly_sunny sun_behind_cloud
🌥️ white_sun_behind_cloud sun_behind_large_cloud
🌦️ white_sun_behind_cloud_with_rain sun_behind_rain_cloud
🌤️ white_sun_with_small_cloud sun_behind_small_cloud|🌞 sun_with_face|🌻 sunflower
🕶️ dark_sunglasses|🌅 sunrise|🌄 sunrise_over_mountains|🌇 city_sunrise sunset|🦸 superhero
🦹 supervillain|🍣 sushi|🚟 suspension_railway|🦢 swan|💦 sweat_drops sweat_droplets
🕍 synagogue|💉 syringe|👕 tshirt shirt t_shirt t-shirt|🌮 taco|🥡 takeout_box|🫔 tamale
🎋 tanabata_tree|🍊 orange mandarin tangerine|🚕 taxi|🍵 tea teacup_without_handle|🫖 teapot
📆 tear_off_calendar tear-off_calendar|🧸 teddy_bear|☎️ phone telephone|📞 telephone_receiver
🔭 telescope|📺 tv television|🕥 clock1030 ten_thirty ten-thirty|🕙 clock10 ten_oclock
🎾 tennis|⛺ tent|🧪 test_tube|🌡️ thermometer|🤔 thinking thinking_face|🩴 thong_sandal
💭 thought_balloon|🧵 thread|🕞 clock330 three_thirty three-thirty|🕒 clock3 three_oclock
👎 thumbsdown _1 -1 thumbs_down|👍 thumbsup +1 thumbs_up|🎫 ticket|🐅 tiger2 tiger
🐯 tiger_face|⏲️ timer_clock|😫 tired_face|🚽 toilet|🍅 tomato|👅 tongue|🧰 toolbox|🦷 tooth
🪥 toothbrush|🎩 tophat top_hat|🌪️ cloud_with_tornado tornado|🖲️ trackball|🚜 tractor
™️ tm trade_mark|🚆 train2 train|🚊 tram|🚋 tram_car|⚧️ transgender_symbol|🪎 treasure_chest
🚩 triangular_flag_on_post triangular_flag|📐 triangular_ruler|🔱 trident trident_emblem
🧌 troll|🚎 trolleybus|🪊 trombone|🏆 trophy|🍹 tropical_drink|🐠 tropical_fish|🎺 trumpet
🌷 tulip|🥃 tumbler_glass|🦃 turkey|🐢 turtle|🕧 clock1230 twelve_thirty twelve-thirty
🕛 clock12 twelve_oclock|🐫 two_hump_camel two-hump_camel|🕝 clock230 two_thirty two-thirty
💕 two_hearts|🕑 clock2 two_oclock|☂️ open_umbrella umbrella
⛱️ parasol_on_ground umbrella_on_ground|☔ umbrella_with_rain_drops
😒 unamused unamused_face|🦄 unicorn_face unicorn|🔓 unlock unlocked
↕️ arrow_up_down up_down_arrow up-down_arrow
↖️ arrow_upper_left up_left_arrow up-left_arrow
↗️ arrow_upper_right up_right_arrow up-right_arrow|⬆️ arrow_up up_arrow
🙃 upside_down_face upside-down_face|🔼 arrow_up_small upwards_button|🧛 vampire
🚦 vertical_traffic_light|📳 vibration_mode|✌️ v victory_hand|📹 video_camera|🎮 video_game
📼 vhs videocassette|🎻 violin|🌋 volcano|🏐 volleyball
🖖 raised_hand_with_part_between_middle_and_ring_fingers vulcan_salute|🧇 waffle
🌘 waning_crescent_moon|🌖 waning_gibbous_moon|⚠️ warning|🗑️ wastebasket|⌚ watch
🐃 water_buffalo|🚾 wc water_closet|🔫 gun water_pistol|🌊 ocean water_wave|🍉 watermelon
👋 wave waving_hand|〰️ wavy_dash|🌒 waxing_crescent_moon|🌔 moon waxing_gibbous_moon
🙀 scream_cat weary_cat|😩 weary weary_face|💒 wedding|🐋 whale2|🛞 wheel|☸️ wheel_of_dharma
♿ wheelchair wheelchair_symbol|🦯 probing_cane white_cane|⚪ white_circle
❕ grey_exclamation white_exclamation_mark|🏳️ waving_white_flag white_flag|💮 white_flower
🦳 white_hair|🤍 white_heart|⬜ white_large_square
◽ white_medium_small_square white_medium-small_square|◻️ white_medium_square
❔ grey_question white_question_mark|▫️ white_small_square|🔳 white_square_button
🥀 wilted_flower|🎐 wind_chime|🌬️ wind_blowing_face wind_face|🪟 window|🍷 wine_glass|🪽 wing
😉 wink winking_face|😜 stuck_out_tongue_winking_eye winking_face_with_tongue|🛜 wireless
🐺 wolf|👩 woman|👫 couple woman_and_man_holding_hands|💃 dancer woman_dancing
🧕 woman_with_headscarf|👢 boot womans_boot|👚 womans_clothes|👒 womans_hat
👡 sandal womans_sandal|👭 two_women_holding_hands women_holding_hands|🚺 womens womens_room
🪵 wood|🥴 woozy_face|🗺️ world_map|🪱 worm|😟 worried worried_face|🎁 gift wrapped_gift
🔧 wrench|✍️ writing_hand|🩻 x_ray x-ray|🧶 yarn|🥱 yawning_face|🟡 yellow_circle
💛 yellow_heart|🟨 yellow_square|💴 yen yen_banknote|☯️ yin_yang|🪀 yo_yo yo-yo|🤪 zany_face
🦓 zebra|🤐 zipper_mouth_face zipper-mouth_face|🧟 zombie
"""


def _by_name() -> Mapping[str, str]:
    entries = (entry.split(" ") for line in _LISTED.strip().split("\n") for entry in line.split("|"))
    return MappingProxyType({name: emoji for emoji, *names in entries for name in names})


_EMOJI = _by_name()


def find_emoji(name: str) -> str:
    """Return the emoji of that short name; "" if there is none."""
    return _EMOJI.get(name.lower(), "")
